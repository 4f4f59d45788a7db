// go-x509 says what Go's crypto/x509 thinks of certificates, called as kube-apiserver calls it. It reads questions as JSON lines
// on standard input and answers each with a JSON line on standard output.
//
// A question: {"chain": [DER in base64, the leaf first], "roots": [DER in base64], "pem": PEM in base64,
// "now": seconds since 1970, "nanos": and nanoseconds}.
// Without "roots" those of the question before are taken. "pem" is a bundle of trust anchors to look at by itself.
//
// An answer: {"chain": ["" or why it does not parse, ...], "roots": [the same], "verify": "" or why not, "leaf": {...},
// "pem": how many certificates, or -1}. "verify" and "leaf" are there if the chain and the roots parse.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

type question struct {
	Chain [][]byte  `json:"chain"`
	Roots *[][]byte `json:"roots"`
	PEM   *[]byte   `json:"pem"`
	Now   int64     `json:"now"`
	Nanos int64     `json:"nanos"`
}

type leaf struct {
	CommonName    []byte   `json:"common_name"`
	Organizations [][]byte `json:"organizations"`
	UIDs          [][]byte `json:"uids"`
	NotBefore     int64    `json:"not_before"`
	NotAfter      int64    `json:"not_after"`
}

type answer struct {
	Chain  []string `json:"chain"`
	Roots  []string `json:"roots"`
	Verify *string  `json:"verify,omitempty"`
	Leaf   *leaf    `json:"leaf,omitempty"`
	PEM    *int     `json:"pem,omitempty"`
}

const uidOID = "1.3.6.1.4.1.57683.2"

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	questions := json.NewDecoder(in)
	answers := json.NewEncoder(out)
	var roots [][]byte
	for questions.More() {
		var q question
		if err := questions.Decode(&q); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if q.Roots != nil {
			roots = *q.Roots
		}
		if err := answers.Encode(ask(q, roots)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
	out.Flush()
}

func ask(q question, roots [][]byte) answer {
	a := answer{Chain: []string{}, Roots: []string{}}
	if q.PEM != nil {
		n := bundle(*q.PEM)
		a.PEM = &n
	}
	chain, good := parse(q.Chain, &a.Chain)
	anchors, goodRoots := parse(roots, &a.Roots)
	if !good || !goodRoots || len(chain) == 0 {
		return a
	}
	options := x509.VerifyOptions{
		Roots:       x509.NewCertPool(),
		CurrentTime: time.Unix(q.Now, q.Nanos),
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, anchor := range anchors {
		options.Roots.AddCert(anchor)
	}
	if len(chain) > 1 {
		options.Intermediates = x509.NewCertPool()
		for _, intermediate := range chain[1:] {
			options.Intermediates.AddCert(intermediate)
		}
	}
	verdict := ""
	if _, err := chain[0].Verify(options); err != nil {
		verdict = err.Error()
	}
	a.Verify = &verdict
	subject := chain[0].Subject
	l := leaf{
		CommonName:    []byte(subject.CommonName),
		Organizations: [][]byte{},
		UIDs:          [][]byte{},
		NotBefore:     chain[0].NotBefore.Unix(),
		NotAfter:      chain[0].NotAfter.Unix(),
	}
	for _, organization := range subject.Organization {
		l.Organizations = append(l.Organizations, []byte(organization))
	}
	for _, name := range subject.Names {
		if name.Type.String() == uidOID {
			l.UIDs = append(l.UIDs, []byte(name.Value.(string)))
		}
	}
	a.Leaf = &l
	return a
}

func parse(ders [][]byte, verdicts *[]string) ([]*x509.Certificate, bool) {
	var certificates []*x509.Certificate
	good := true
	for _, der := range ders {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			good = false
			*verdicts = append(*verdicts, err.Error())
			continue
		}
		certificates = append(certificates, certificate)
		*verdicts = append(*verdicts, "")
	}
	return certificates, good
}

// bundle does what ParseCertsPEM of k8s.io/client-go/util/cert does.
func bundle(text []byte) int {
	n := 0
	for len(text) > 0 {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" || len(block.Headers) != 0 {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return -1
		}
		n++
	}
	if n == 0 {
		return -1
	}
	return n
}
