//! Certificates as Envoy writes them: PEM with unix line ends, nothing beside the blocks, URL-encoded or not.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::{GeneralPurposeConfig, Simd};
use bstr::ByteSlice;

use crate::pki::MAX_INTERMEDIATES;

/// A certificate, URL-encoded, that has been decoded: it is in a request up to three times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decoded<'a> {
    /// URL-encoded PEM.
    pub(super) text: &'a [u8],
    /// The one certificate that [`url_encoded`] makes of it.
    pub(super) der: &'a [u8],
}

/// URL-encoded PEM (`source.certificate`, and the text form of `x-forwarded-client-cert`) as DER, or `None` if it is anything that
/// Envoy would not write.
pub(super) fn url_encoded(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    plain(&url_decoded(text)?)
}

/// As [`url_encoded`], if `known` may come first.
pub(super) fn url_encoded_after(known: Option<Decoded<'_>>, text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let Some((known, behind)) = known.and_then(|known| Some((known, text.strip_prefix(known.text)?))) else {
        return url_encoded(text);
    };
    let mut certificates = vec![known.der.to_vec()];
    if !behind.is_empty() {
        certificates.extend(url_encoded(behind)?);
    }
    (certificates.len() <= MAX_CERTIFICATES).then_some(certificates)
}

/// Decodes what is percent-encoded, between characters of which none needs to be (RFC 3986, section 2.3).
fn url_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let is_expected =
        |byte: &u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%');
    // Every byte, whatever is found, so that it takes many at a time.
    text.iter().fold(true, |all, byte| all & is_expected(byte)).then_some(())?;
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = split_once(rest, b'%') {
        let (&[high, low], behind) = escaped.split_first_chunk()?;
        decoded.extend_from_slice(plain);
        decoded.push(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?);
        rest = behind;
    }
    decoded.extend_from_slice(rest);
    Some(decoded)
}

/// PEM (the JSON form of `x-forwarded-client-cert`) as DER: one certificate or more, and no more than a chain may have.
pub(super) fn plain(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut certificates = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (mut lines, behind) = rest.strip_prefix(BEGIN.as_bytes())?.split_once_str(END)?;
        rest = behind;
        let mut base64 = Vec::with_capacity(lines.len());
        while let Some((line, more)) = split_once(lines, b'\n') {
            base64.extend_from_slice(line);
            lines = more;
        }
        base64.extend_from_slice(lines);
        certificates.push(STANDARD.decode(base64).ok()?);
        (certificates.len() <= MAX_CERTIFICATES).then_some(())?;
    }
    (!certificates.is_empty()).then_some(certificates)
}

fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.find_byte(separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Many characters at a time, where the processor can.
static STANDARD: LazyLock<Simd> = LazyLock::new(|| Simd::standard(GeneralPurposeConfig::new()));
const BEGIN: &str = "-----BEGIN CERTIFICATE-----\n";
const END: &str = "-----END CERTIFICATE-----\n";
/// A leaf and as many certificates beside it as are looked at. Envoy's limit on headers ends most chains long before.
const MAX_CERTIFICATES: usize = MAX_INTERMEDIATES + 1;

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn pem(der: &[u8]) -> String {
        let base64 = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> =
            base64.as_bytes().chunks(64).filter_map(|l| std::str::from_utf8(l).ok()).collect();
        format!("{BEGIN}{}\n{END}", lines.join("\n"))
    }

    fn url(text: &str) -> String {
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    }

    #[test]
    fn what_envoy_would_not_write_is_refused() {
        let good = pem(b"certificate");
        assert_eq!(plain(good.as_bytes()), Some(vec![b"certificate".to_vec()]));
        for bad in [
            "",
            "x",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}x"),
            &format!(" {good}"),
            &good.replace('\n', "\r\n"),
        ] {
            assert_eq!(plain(bad.as_bytes()), None, "{bad:?}");
        }
        for bad in ["%", "%4", "%4g", "%zz", "a b", "a+b", "\n", "%ff"] {
            assert_eq!(url_encoded(bad.as_bytes()), None, "{bad:?}");
        }
        let (known, encoded) = (url(&good), url(&good.repeat(100)));
        let known = Decoded { text: known.as_bytes(), der: b"certificate" };
        let after = |known, text: &str| url_encoded_after(known, text.as_bytes()).map(|c| c.len());
        assert_eq!(after(Some(known), &url(&good.repeat(101))), Some(101));
        assert_eq!(after(Some(known), &url(&good.repeat(102))), None);
        assert_eq!(after(Some(known), &format!("{encoded}x")), None);
        assert_eq!(plain(good.repeat(101).as_bytes()).map(|c| c.len()), Some(101));
        assert_eq!(plain(good.repeat(102).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn certificates_come_out_as_they_went_in(ders in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5)) {
            let text: String = ders.iter().map(|der| pem(der)).collect();
            let encoded = url(&text);
            prop_assert_eq!(url_encoded(encoded.as_bytes()), Some(ders.clone()));
            for der in &ders {
                let known = url(&pem(der));
                let known = Decoded { text: known.as_bytes(), der };
                prop_assert_eq!(url_encoded_after(Some(known), encoded.as_bytes()), Some(ders.clone()));
            }
            prop_assert_eq!(plain(text.as_bytes()), Some(ders));
        }

        #[test]
        fn what_is_encoded_as_it_should_be_is_decoded(text in "([A-z0-9._~-]{0,5}|%[0-9A-Fa-f]{2}|[%+/ ü]){0,20}") {
            let unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(byte);
            let escapes = text.split('%').skip(1).all(|part| part.get(..2).is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit())));
            let expected = (escapes && text.bytes().all(|b| unreserved(&b))).then(|| percent_decode(text.as_bytes()).collect());
            prop_assert_eq!(url_decoded(text.as_bytes()), expected);
        }

        #[test]
        fn no_text_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,100}") {
            let _any = (url_encoded(&bytes), plain(&bytes), plain(format!("{BEGIN}{text}{END}").as_bytes()));
        }
    }
}
