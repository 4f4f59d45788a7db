//! Distinguished names (RFC 5280, section 4.1.2.4) and the strings in them.

use super::der::{Reader, SEQUENCE, SET};
use super::error::ParseError;

const UTF8_STRING: u8 = 0x0c;
const NUMERIC_STRING: u8 = 0x12;
const PRINTABLE_STRING: u8 = 0x13;
const T61_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const BMP_STRING: u8 = 0x1e;

/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// id-at-organizationName, 2.5.4.10.
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
/// Kubernetes' attribute for a user's uid, 1.3.6.1.4.1.57683.2 (Go: `X509UID` of k8s.io/apimachinery/pkg/apis/asn1).
const UID: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xc2, 0x53, 0x02];

/// What Kubernetes takes from a subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Name {
    /// The last CN; empty if there is none.
    pub(super) common_name: String,
    /// Every O, in order, empty ones too.
    pub(super) organizations: Vec<String>,
    /// Every uid, in order, empty ones too.
    pub(super) uids: Vec<String>,
}

impl Name {
    /// Reads the content of a Name. RDNs are flattened. Go: `parseName` of crypto/x509/parser.go and `FillFromRDNSequence` of
    /// crypto/x509/pkix/pkix.go.
    pub(super) fn parse(content: &[u8]) -> Result<Self, ParseError> {
        const MALFORMED: ParseError = ParseError::Malformed("name");
        let mut name = Self::default();
        let mut rdns = Reader::new(content);
        while !rdns.is_empty() {
            let mut rdn = rdns.enter(SET).ok_or(MALFORMED)?;
            while !rdn.is_empty() {
                let mut attribute = rdn.enter(SEQUENCE).ok_or(MALFORMED)?;
                let kind = attribute.oid().ok_or(MALFORMED)?;
                let value = attribute.any().ok_or(MALFORMED)?;
                let value = string(value.tag, value.content)?;
                match kind {
                    COMMON_NAME => name.common_name = value,
                    ORGANIZATION => name.organizations.push(value),
                    UID => name.uids.push(value),
                    _ => {}
                }
            }
        }
        Ok(name)
    }
}

/// The text of a string of one of the types that names are made of. Go: `parseASN1String` of crypto/x509/parser.go.
fn string(tag: u8, value: &[u8]) -> Result<String, ParseError> {
    let ascii = |name, allowed: fn(u8) -> bool| {
        if !value.iter().all(|byte| allowed(*byte)) {
            return Err(ParseError::String(name));
        }
        Ok(value.iter().copied().map(char::from).collect())
    };
    match tag {
        // T.61 is taken for ISO 8859-1.
        T61_STRING => Ok(value.iter().copied().map(char::from).collect()),
        PRINTABLE_STRING => ascii("PrintableString", is_printable),
        IA5_STRING => ascii("IA5String", |byte| byte.is_ascii()),
        NUMERIC_STRING => ascii("NumericString", |byte| byte.is_ascii_digit() || byte == b' '),
        UTF8_STRING => str::from_utf8(value).map(str::to_owned).map_err(|_| ParseError::String("UTF8String")),
        BMP_STRING => bmp_string(value).ok_or(ParseError::String("BMPString")),
        tag => Err(ParseError::StringType(tag)),
    }
}

/// Go: `isPrintable`: PrintableString's characters, and `*` and `&`, which are found in the field.
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+,-./ :=?*&".contains(&byte)
}

/// UCS-2 without surrogates and noncharacters; one NUL at the end goes.
fn bmp_string(value: &[u8]) -> Option<String> {
    let (pairs, []) = value.as_chunks::<2>() else { return None };
    let pairs = pairs.strip_suffix(&[[0, 0]]).unwrap_or(pairs);
    pairs
        .iter()
        .map(|pair| match u16::from_be_bytes(*pair) {
            0xfffe | 0xffff | 0xfdd0..=0xfdef => None,
            unit => char::from_u32(unit.into()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn attribute(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        tlv(SEQUENCE, &[tlv(6, oid), tlv(tag, value)].concat())
    }

    /// Go: TestParseASN1String of crypto/x509/parser_test.go, and the vectors of x509-names.
    #[test]
    fn strings_are_read_as_go_reads_them() {
        let text = |text: &str| Ok(text.to_owned());
        let bad = |name| Err(ParseError::String(name));
        let table: [(u8, &[u8], Result<String, ParseError>); 20] = [
            (T61_STRING, &[0xbf, 0x61, 0x3f], text("\u{bf}a?")),
            (PRINTABLE_STRING, b"aZ09 '()+,-./:=?*&", text("aZ09 '()+,-./:=?*&")),
            (PRINTABLE_STRING, &[1, 2, 3], bad("PrintableString")),
            (PRINTABLE_STRING, b"a_b", bad("PrintableString")),
            (PRINTABLE_STRING, b"a@b", bad("PrintableString")),
            (UTF8_STRING, &[0xe4, 0xbd, 0xa0, 0], text("\u{4f60}\0")),
            (UTF8_STRING, &[0xff], bad("UTF8String")),
            (UTF8_STRING, &[0xed, 0xa0, 0x80], bad("UTF8String")),
            (BMP_STRING, &[0x80, 0x81, 0, 0], text("\u{8081}")),
            (BMP_STRING, &[0, 0x61, 0, 0, 0, 0], text("a\0")),
            (BMP_STRING, &[0, 0], text("")),
            (BMP_STRING, &[0, 0x61, 0x62], bad("BMPString")),
            (BMP_STRING, &[0xff, 0xfe], bad("BMPString")),
            (BMP_STRING, &[0xfd, 0xd0], bad("BMPString")),
            (BMP_STRING, &[0xd8, 0x3d, 0xde, 0x00], bad("BMPString")),
            (IA5_STRING, b"a@\x7f", text("a@\x7f")),
            (IA5_STRING, &[0x80], bad("IA5String")),
            (NUMERIC_STRING, b"0 9", text("0 9")),
            (NUMERIC_STRING, b"a", bad("NumericString")),
            (0x1c, &[0, 0, 0, 0x61], Err(ParseError::StringType(0x1c))),
        ];
        for (tag, value, expected) in table {
            assert_eq!(string(tag, value), expected, "{tag:#x} {value:x?}");
        }
    }

    #[test]
    fn rdns_are_flattened_the_last_cn_wins_and_empty_values_count() {
        let name = [
            tlv(SET, &[]),
            tlv(SET, &[attribute(ORGANIZATION, 12, b"b"), attribute(COMMON_NAME, 12, b"first")].concat()),
            tlv(SET, &attribute(ORGANIZATION, 12, b"")),
            tlv(SET, &[attribute(COMMON_NAME, 12, b"last"), attribute(ORGANIZATION, 12, b"a")].concat()),
            tlv(SET, &attribute(UID, 22, b"u1")),
            tlv(SET, &attribute(UID, 12, b"")),
            tlv(SET, &attribute(&[0x55, 4, 6], 19, b"DE")),
        ]
        .concat();
        let expected = Name {
            common_name: "last".into(),
            organizations: vec!["b".into(), String::new(), "a".into()],
            uids: vec!["u1".into(), String::new()],
        };
        assert_eq!(Name::parse(&name), Ok(expected));
        assert_eq!(Name::parse(&[]), Ok(Name::default()));
        let malformed = Err(ParseError::Malformed("name"));
        assert_eq!(Name::parse(&tlv(SEQUENCE, &[])), malformed);
        assert_eq!(Name::parse(&tlv(SET, &tlv(SEQUENCE, &tlv(6, COMMON_NAME)))), malformed);
        assert_eq!(Name::parse(&tlv(SET, &attribute(&[0x80], 12, b"a"))), malformed);
    }
}
