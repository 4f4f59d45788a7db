//! Certificates as Envoy writes them: PEM with unix line ends, nothing beside the blocks, URL-encoded or not.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode;

use crate::pki::MAX_INTERMEDIATES;

/// URL-encoded PEM (`source.certificate`, and the text form of `x-forwarded-client-cert`) as DER, or `None` if it is anything that
/// Envoy would not write.
pub(super) fn url_encoded(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut escape = 0;
    for byte in text {
        escape = match (escape, byte) {
            (0, b'%') => 2,
            (0, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~') => 0,
            (1 | 2, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => escape - 1,
            _ => return None,
        };
    }
    (escape == 0).then_some(())?;
    plain(&percent_decode(text).decode_utf8().ok()?)
}

/// PEM (the JSON form of `x-forwarded-client-cert`) as DER: one certificate or more, and no more than a chain may have.
pub(super) fn plain(text: &str) -> Option<Vec<Vec<u8>>> {
    let mut certificates = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (base64, behind) = rest.strip_prefix(BEGIN)?.split_once(END)?;
        rest = behind;
        let base64: String = base64.split('\n').collect();
        certificates.push(BASE64_STANDARD.decode(base64).ok()?);
        (certificates.len() <= MAX_CERTIFICATES).then_some(())?;
    }
    (!certificates.is_empty()).then_some(certificates)
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----\n";
const END: &str = "-----END CERTIFICATE-----\n";
/// A leaf and as many certificates beside it as are looked at. Envoy's limit on headers ends most chains long before.
const MAX_CERTIFICATES: usize = MAX_INTERMEDIATES + 1;

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn pem(der: &[u8]) -> String {
        let base64 = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> =
            base64.as_bytes().chunks(64).filter_map(|l| std::str::from_utf8(l).ok()).collect();
        format!("{BEGIN}{}\n{END}", lines.join("\n"))
    }

    #[test]
    fn what_envoy_would_not_write_is_refused() {
        let good = pem(b"certificate");
        assert_eq!(plain(&good), Some(vec![b"certificate".to_vec()]));
        for bad in [
            "",
            "x",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}x"),
            &format!(" {good}"),
            &good.replace('\n', "\r\n"),
        ] {
            assert_eq!(plain(bad), None, "{bad:?}");
        }
        for bad in ["%", "%4", "%4g", "%zz", "a b", "a+b", "\n", "%ff"] {
            assert_eq!(url_encoded(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(plain(&good.repeat(101)).map(|c| c.len()), Some(101));
        assert_eq!(plain(&good.repeat(102)), None);
    }

    proptest! {
        #[test]
        fn certificates_come_out_as_they_went_in(ders in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5)) {
            let text: String = ders.iter().map(|der| pem(der)).collect();
            prop_assert_eq!(url_encoded(utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string().as_bytes()), Some(ders.clone()));
            prop_assert_eq!(plain(&text), Some(ders));
        }

        #[test]
        fn no_text_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,100}") {
            let _any = (url_encoded(&bytes), plain(&text), plain(&format!("{BEGIN}{text}{END}")));
        }
    }
}
