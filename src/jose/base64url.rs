//! Base64 as Go decodes it.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, Simd};

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
const RAW_URL: GeneralPurpose =
    GeneralPurpose::new(&URL_SAFE, CONFIG.with_decode_padding_mode(DecodePaddingMode::RequireNone));
const STD: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, CONFIG.with_decode_padding_mode(DecodePaddingMode::RequireCanonical));

/// Without bits left over in the last character. Many characters at a time, where the processor can.
static CANONICAL_URL: LazyLock<Simd> = LazyLock::new(|| {
    Simd::url_safe(GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireNone))
});

/// Base64url without padding, if it is just what encoding the result would give.
pub(super) fn decode_canonical(text: &[u8]) -> Option<Vec<u8>> {
    CANONICAL_URL.decode(text).ok()
}

/// Base64url without padding (RFC 4648, section 5). Line ends are overlooked, and so are bits left over in the last character. Go:
/// `base64.RawURLEncoding.DecodeString`.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    decode_canonical(text).or_else(|| RAW_URL.decode(&*without_line_ends(text)).ok())
}

/// Base64 with padding (RFC 4648, section 4), likewise. Go: `base64.StdEncoding.DecodeString`.
pub(super) fn decode_std(text: &[u8]) -> Option<Vec<u8>> {
    STD.decode(&*without_line_ends(text)).ok()
}

fn without_line_ends(text: &[u8]) -> Cow<'_, [u8]> {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if !text.iter().any(is_line_end) {
        return text.into();
    }
    text.iter().copied().filter(|byte| !is_line_end(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go: TestDecodeCorrupt, TestNewLineCharacters and TestDecodeString of encoding/base64/base64_test.go.
    #[test]
    fn base64_is_decoded_as_go_does() {
        let table: [(&str, Option<&[u8]>); 11] = [
            ("", Some(b"")),
            ("Zm9v", Some(b"foo")),
            ("Zm8", Some(b"fo")),
            ("Zm9", Some(b"fo")),
            ("-_8", Some(&[0xfb, 0xff])),
            ("Z\nm\r\n8", Some(b"fo")),
            ("Zm8=", None),
            ("Zm9vZ", None),
            ("+/8", None),
            ("Zm 8", None),
            ("\n", Some(b"")),
        ];
        for (text, expected) in table {
            assert_eq!(decode(text.as_bytes()).as_deref(), expected, "{text:?}");
        }
        let canonical = table.iter().filter(|(text, _)| decode_canonical(text.as_bytes()).is_some());
        assert_eq!(canonical.map(|(text, _)| *text).collect::<Vec<_>>(), ["", "Zm9v", "Zm8", "-_8"]);
        assert_eq!(decode_std(b"Zm8="), Some(b"fo".to_vec()));
        assert_eq!(decode_std(b"Zm9\n="), Some(b"fo".to_vec()));
        assert_eq!(decode_std(b"Zm8"), None);
        assert_eq!(decode_std(b"-_8="), None);
    }
}
