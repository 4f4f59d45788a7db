module countersign/go-x509

go 1.26

godebug default=go1.26
