//! A strict DER reader, as Go's `golang.org/x/crypto/cryptobyte` (asn1.go) is one: definite lengths in their shortest form, tags
//! of one byte, minimal integers and object identifiers. Every method takes one value off the front of what is left, or is
//! `None`; after `None` the reader must not be used again. What a reader is asked for is all it checks: a caller that does not
//! ask for the end of its input ([`Reader::is_empty`]) allows more to follow, and Go's parser often does not ask.

/// BOOLEAN.
pub(super) const BOOLEAN: u8 = 0x01;
/// INTEGER.
pub(super) const INTEGER: u8 = 0x02;
/// BIT STRING.
pub(super) const BIT_STRING: u8 = 0x03;
/// OCTET STRING.
pub(super) const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
/// UTCTime.
pub(super) const UTC_TIME: u8 = 0x17;
/// GeneralizedTime.
pub(super) const GENERALIZED_TIME: u8 = 0x18;
/// SEQUENCE, which is always constructed.
pub(super) const SEQUENCE: u8 = 0x30;
/// SET, which is always constructed.
pub(super) const SET: u8 = 0x31;

/// A primitive value tagged `[number]`.
pub(super) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// A constructed value tagged `[number]`.
pub(super) const fn context_constructed(number: u8) -> u8 {
    0xa0 | number
}

/// One value with its header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    /// Its identifier byte.
    pub(super) tag: u8,
    /// The whole of it, header and all.
    pub(super) full: &'a [u8],
    /// What is inside.
    pub(super) content: &'a [u8],
}

/// A BIT STRING.
#[derive(Debug, Clone, Copy)]
pub(super) struct BitString<'a> {
    bytes: &'a [u8],
    padding: u8,
}

impl BitString<'_> {
    /// Whether bit `index` is set, the first being the most significant one of the first byte; those behind the end are not.
    /// Go: `asn1.BitString.At`.
    pub(super) fn at(&self, index: usize) -> bool {
        // The padding is known to be zero, so the end need not be looked at.
        self.bytes.get(index / 8).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0)
    }

    /// The bits moved to the right so that the padding stands in front. Go: `asn1.BitString.RightAlign`.
    pub(super) fn right_align(&self) -> Vec<u8> {
        if self.padding == 0 {
            return self.bytes.to_vec();
        }
        let mut carry = 0;
        self.bytes
            .iter()
            .map(|byte| {
                let aligned = carry | (byte >> self.padding);
                carry = byte << (8 - self.padding);
                aligned
            })
            .collect()
    }
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `input`.
    pub(super) const fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Whether all has been read.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the next value has this tag. Go: `String.PeekASN1Tag`.
    pub(super) fn peek(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The next value, whatever it is. Go: `String.readASN1`.
    pub(super) fn any(&mut self) -> Option<Element<'a>> {
        let [tag, first, rest @ ..] = self.0 else { return None };
        // X.690, 8.1.2.4: tags from 31 on take more bytes; no field of a certificate has one.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, header) = if *first < 0x80 {
            (usize::from(*first), 2)
        } else {
            // X.690, 8.1.3.5; four bytes at most, as in Go.
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 {
                return None;
            }
            let bytes = rest.get(..count)?;
            let length = bytes.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
            // X.690, 10.1: the shortest form.
            if length < 0x80 || bytes.first() == Some(&0) {
                return None;
            }
            (length, 2 + count)
        };
        let (full, rest) = self.0.split_at_checked(header.checked_add(length)?)?;
        self.0 = rest;
        Some(Element { tag: *tag, full, content: full.get(header..)? })
    }

    /// The next value with its header, if it has this tag. Go: `String.ReadASN1Element`.
    pub(super) fn element(&mut self, tag: u8) -> Option<Element<'a>> {
        self.any().filter(|element| element.tag == tag)
    }

    /// What is inside the next value, if it has this tag. Go: `String.ReadASN1`.
    pub(super) fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        Some(self.element(tag)?.content)
    }

    /// A reader of what is inside the next value, if it has this tag.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.read(tag).map(Self)
    }

    /// As [`Reader::read`], or `Some(None)` without moving if another value, or nothing, comes next. Go: `String.ReadOptionalASN1`.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        if self.peek(tag) { self.read(tag).map(Some) } else { Some(None) }
    }

    /// Go: `String.ReadASN1Boolean`.
    pub(super) fn boolean(&mut self) -> Option<bool> {
        match self.read(BOOLEAN)? {
            [0] => Some(false),
            [0xff] => Some(true),
            _ => None,
        }
    }

    /// The bytes of an INTEGER under this tag, two's complement, minimal. Go: `checkASN1Integer`.
    pub(super) fn integer(&mut self, tag: u8) -> Option<&'a [u8]> {
        let bytes = self.read(tag)?;
        match bytes {
            [] | [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => None,
            _ => Some(bytes),
        }
    }

    /// An INTEGER under this tag that fits an `i64`. Go: `String.ReadASN1Int64WithTag`, `asn1Signed`.
    pub(super) fn int64(&mut self, tag: u8) -> Option<i64> {
        let bytes = self.integer(tag)?;
        if bytes.len() > 8 {
            return None;
        }
        let sign = if is_negative(bytes) { -1 } else { 0 };
        Some(bytes.iter().fold(sign, |value, byte| (value << 8) | i64::from(*byte)))
    }

    /// An INTEGER that is positive, without leading zeros.
    pub(super) fn positive(&mut self) -> Option<&'a [u8]> {
        let bytes = self.integer(INTEGER)?;
        if is_negative(bytes) || bytes == [0] {
            return None;
        }
        Some(bytes.strip_prefix(&[0]).unwrap_or(bytes))
    }

    /// The bytes of an OBJECT IDENTIFIER whose components are minimal and below 2^31. There is one encoding of each, so that
    /// the bytes can be compared. Go: `String.ReadASN1ObjectIdentifier`, `readBase128Int`.
    pub(super) fn oid(&mut self) -> Option<&'a [u8]> {
        let bytes = self.read(OBJECT_IDENTIFIER)?;
        let mut component: u32 = 0;
        let mut inside = false;
        for byte in bytes {
            if !inside && *byte == 0x80 || component >= 1 << (31 - 7) {
                return None;
            }
            component = (component << 7) | u32::from(byte & 0x7f);
            inside = byte & 0x80 != 0;
            if !inside {
                component = 0;
            }
        }
        (!bytes.is_empty() && !inside).then_some(bytes)
    }

    /// Go: `String.ReadASN1BitString`.
    pub(super) fn bit_string(&mut self) -> Option<BitString<'a>> {
        let (&padding, bytes) = self.read(BIT_STRING)?.split_first()?;
        if padding > 7 {
            return None;
        }
        match bytes.last() {
            None if padding != 0 => None,
            Some(last) if last & ((1 << padding) - 1) != 0 => None,
            _ => Some(BitString { bytes, padding }),
        }
    }
}

/// Whether an INTEGER's bytes are below zero.
pub(super) fn is_negative(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|byte| byte & 0x80 != 0)
}

/// Whether this is one identifier, of any size: Go's `x509.newOIDFromDER`, which certificate policies are read with.
pub(super) fn is_oid(bytes: &[u8]) -> bool {
    let mut inside = false;
    for byte in bytes {
        if !inside && *byte == 0x80 {
            return false;
        }
        inside = byte & 0x80 != 0;
    }
    !bytes.is_empty() && !inside
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes, and the tag, the content and how much is left if there is a value.
    type Row<'a> = (&'a [u8], Option<(u8, &'a [u8], usize)>);

    fn any(input: &[u8]) -> Option<(u8, &[u8], usize)> {
        let mut reader = Reader::new(input);
        reader.any().map(|e| (e.tag, e.content, reader.0.len()))
    }

    /// Go: TestReadASN1 of cryptobyte/asn1_test.go.
    #[test]
    fn lengths_are_definite_and_as_short_as_they_can_be() {
        let long = [&[0x04, 0x81, 0x80][..], &[7; 128]].concat();
        let table: [Row<'_>; 14] = [
            (&[0x30, 2, 1, 2], Some((0x30, &[1, 2], 0))),
            (&[0x30, 2, 1, 2, 9], Some((0x30, &[1, 2], 1))),
            (&[0x30, 0], Some((0x30, &[], 0))),
            (&long, Some((0x04, &[7; 128], 0))),
            (&[0x30], None),
            (&[], None),
            (&[0x30, 3, 1, 2], None),
            (&[0x30, 0x80, 1, 2, 0, 0], None),
            (&[0x30, 0x81, 2, 1, 2], None),
            (&[0x30, 0x82, 0, 0x80], None),
            (&[0x30, 0x85, 0, 0, 0, 0, 1, 1], None),
            (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1], None),
            (&[0x1f, 1, 0], None),
            (&[0xbf, 0x1f, 1, 0], None),
        ];
        for (input, expected) in table {
            assert_eq!(any(input), expected, "{input:x?}");
        }
    }

    /// Go: TestReadASN1IntegerSigned and TestReadASN1IntegerInvalid of cryptobyte/asn1_test.go.
    #[test]
    fn integers_are_minimal_and_keep_their_sign() {
        let table: [(&[u8], Option<i64>); 12] = [
            (&[2, 1, 0], Some(0)),
            (&[2, 1, 0x7f], Some(127)),
            (&[2, 2, 0, 0x80], Some(128)),
            (&[2, 1, 0x80], Some(-128)),
            (&[2, 2, 0xff, 0x7f], Some(-129)),
            (&[2, 8, 0x7f, 255, 255, 255, 255, 255, 255, 255], Some(i64::MAX)),
            (&[2, 8, 0x80, 0, 0, 0, 0, 0, 0, 0], Some(i64::MIN)),
            (&[2, 9, 0, 0x80, 0, 0, 0, 0, 0, 0, 0], None),
            (&[2, 0], None),
            (&[2, 2, 0, 0x7f], None),
            (&[2, 2, 0xff, 0x80], None),
            (&[3, 1, 0], None),
        ];
        for (input, expected) in table {
            assert_eq!(Reader::new(input).int64(INTEGER), expected, "{input:x?}");
        }
        assert_eq!(Reader::new(&[2, 1, 0]).positive(), None);
        assert_eq!(Reader::new(&[2, 2, 0, 0x80]).positive(), Some(&[0x80][..]));
        assert_eq!(Reader::new(&[2, 1, 0xfe]).positive(), None);
    }

    /// Go: the tests of ReadASN1ObjectIdentifier and ReadASN1BitString in cryptobyte/asn1_test.go.
    #[test]
    fn identifiers_booleans_and_bits_have_one_form_each() {
        let oids: [(&[u8], bool); 8] = [
            (&[6, 3, 0x2a, 0x86, 0x48], true),
            (&[6, 5, 0x87, 0xff, 0xff, 0xff, 0x7f], true),
            (&[6, 5, 0x88, 0x80, 0x80, 0x80, 0x00], false),
            (&[6, 6, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00], false),
            (&[6, 0], false),
            (&[6, 1, 0x85], false),
            (&[6, 3, 0x2a, 0x80, 0x01], false),
            (&[6, 2, 0x80, 0x01], false),
        ];
        for (input, good) in oids {
            assert_eq!(Reader::new(input).oid(), good.then(|| &input[2..]), "{input:x?}");
        }
        assert!(is_oid(&[0x88, 0x80, 0x80, 0x80, 0x80, 0x00]), "a policy may be of any size");
        assert!(!is_oid(&[]) && !is_oid(&[0x85]) && !is_oid(&[0x2a, 0x80, 0x01]));

        let booleans = [(0, Some(false)), (0xff, Some(true)), (1, None)];
        for (byte, expected) in booleans {
            assert_eq!(Reader::new(&[1, 1, byte]).boolean(), expected);
        }
        assert_eq!(Reader::new(&[1, 2, 0, 0]).boolean(), None);

        let bits = |input: &[u8]| Reader::new(input).bit_string().map(|b| b.right_align());
        assert_eq!(bits(&[3, 3, 0, 0x0a, 0x50]), Some(vec![0x0a, 0x50]));
        assert_eq!(bits(&[3, 3, 4, 0x0a, 0x50]), Some(vec![0x00, 0xa5]));
        assert_eq!(bits(&[3, 1, 0]), Some(vec![]));
        for input in [&[3, 0][..], &[3, 1, 1], &[3, 2, 8, 0], &[3, 2, 4, 0x58]] {
            assert_eq!(bits(input), None, "{input:x?}");
        }
        let usage = Reader::new(&[3, 3, 7, 0x04, 0x80]).bit_string().unwrap();
        assert_eq!((0..10).filter(|i| usage.at(*i)).collect::<Vec<_>>(), [5, 8]);
    }
}
