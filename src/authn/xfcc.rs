//! `x-forwarded-client-cert`, as strictly as Envoy writes it with `SANITIZE_SET` and
//! `set_current_client_cert_details: { cert: true, chain: true }`:
//!
//! ```text
//!   By=spiffe://mesh/edge;Hash=3f2a…;Cert="-----BEGIN%20CERTIFICATE…";Chain="-----BEGIN%20CERTIFICATE…-----BEGIN%20…"
//!   ^^^^^^^^^^^^^^^^^^^^^ ^^^^^^^^^^ ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
//!   |                     |          |                                  +-- leaf first, then all that the client sent
//!   |                     |          +-- the leaf, URL-encoded PEM
//!   |                     +-- SHA-256 of the leaf's DER, in hex
//!   +-- only if Envoy's own certificate has a URI SAN
//! ```
//!
//! or, with `format: JSON` (Envoy 1.38 and later), as a list of
//!
//! ```json
//! {"by": ["spiffe://mesh/edge"], "hash": "3f2a…", "cert": "-----BEGIN CERTIFICATE-----\\n…", "chain": ["-----BEGIN CERTIFICATE-----\\n…"]}
//! ```
//!
//! Nothing in these forms is of the client's choosing but what is encoded. In the text form `URI` and `DNS` elements are written
//! unescaped, so a client can forge whatever comes behind them; an element with anything but the four above is refused (threats
//! S29). One element for each trusted hop; the last was written by the Envoy that asks us.

use bstr::ByteSlice;
use serde::Deserialize;

use super::pem_text::{self, Decoded};

/// One hop's element.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// SHA-256 of the leaf, in lower-case hex.
    pub(super) hash: String,
    /// The leaf, as DER.
    pub(super) cert: Option<Vec<u8>>,
    /// Everything that the client sent, leaf first, as DER.
    pub(super) chain: Option<Vec<Vec<u8>>>,
}

/// The elements of at most `hops` hops, or `None` if `value` is anything else. `leaf` is the certificate that some of them may be
/// about, if there is one.
pub(super) fn parse(value: &[u8], hops: usize, leaf: Option<Decoded<'_>>) -> Option<Vec<Element>> {
    let elements: Option<Vec<Element>> = match value.first()? {
        b'[' => {
            let elements: Vec<JsonElement> = serde_json::from_slice(value).ok()?;
            elements.into_iter().map(JsonElement::element).collect()
        }
        _ => value.split_str(",").map(|text| text_element(text, leaf)).collect(),
    };
    elements.filter(|elements| !elements.is_empty() && elements.len() <= hops)
}

fn text_element(text: &[u8], leaf: Option<Decoded<'_>>) -> Option<Element> {
    let mut parts = text.split_str(";").peekable();
    if let Some(by) = parts.next_if(|part| part.starts_with(b"By=")) {
        // A URI: nothing that could end it early, were it not what it seems.
        by.iter().all(|b| b.is_ascii_graphic() && *b != b'"' && *b != b'\\').then_some(())?;
    }
    let hash = hash(parts.next()?.strip_prefix(b"Hash=")?)?;
    let cert = parts.next_if(|part| part.starts_with(b"Cert=")).map(|part| quoted(part, b"Cert="));
    let chain = parts.next_if(|part| part.starts_with(b"Chain=")).map(|part| quoted(part, b"Chain="));
    parts.next().is_none().then_some(())?;
    let (cert_text, chain_text) = (optional(cert)?, optional(chain)?);
    let cert = optional(cert_text.map(|text| single(pem_text::url_encoded_after(leaf, text)?)))?;
    let known = cert_text.zip(cert.as_deref()).map(|(text, der)| Decoded { text, der }).or(leaf);
    let chain = optional(chain_text.map(|text| pem_text::url_encoded_after(known, text)))?;
    Some(Element { hash, cert, chain })
}

/// What stands in quotes behind `key`.
fn quoted<'a>(part: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    part.strip_prefix(key)?.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonElement {
    #[serde(default, rename = "by")]
    _by: Vec<String>,
    hash: String,
    cert: Option<String>,
    chain: Option<Vec<String>>,
}

impl JsonElement {
    fn element(self) -> Option<Element> {
        let certificate = |pem: &String| single(pem_text::plain(pem.as_bytes())?);
        Some(Element {
            hash: hash(self.hash.as_bytes())?,
            cert: optional(self.cert.as_ref().map(certificate))?,
            chain: optional(self.chain.map(|chain| chain.iter().map(certificate).collect()))?,
        })
    }
}

fn single(certificates: Vec<Vec<u8>>) -> Option<Vec<u8>> {
    <[_; 1]>::try_from(certificates).ok().map(|[certificate]| certificate)
}

fn hash(text: &[u8]) -> Option<String> {
    let is_hash = text.len() == 64 && text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then(|| String::from_utf8_lossy(text).into_owned())
}

/// "Absent, or good" out of "there, and perhaps good".
fn optional<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    value.map_or(Some(None), |there| there.map(Some))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    /// `-----BEGIN CERTIFICATE-----\n` and so on, of the bytes `A`, `B` and `C`.
    const A: &str = "QQ==";
    const B: &str = "Qg==";
    const C: &str = "Qw==";

    fn url(base64: &str) -> String {
        let base64 = base64.replace('=', "%3D");
        format!("-----BEGIN%20CERTIFICATE-----%0A{base64}%0A-----END%20CERTIFICATE-----%0A")
    }

    fn json(base64: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\\n{base64}\\n-----END CERTIFICATE-----\\n")
    }

    /// The certificates of each element: the leaf, then the chain.
    fn read(value: &str, hops: usize) -> Option<Vec<(String, String)>> {
        let text = |der: Vec<u8>| String::from_utf8(der).expect("one of our letters");
        let short = |e: Element| {
            (
                e.cert.map(text).unwrap_or_default(),
                e.chain.unwrap_or_default().into_iter().map(text).collect(),
            )
        };
        Some(parse(value.as_bytes(), hops, None)?.into_iter().map(short).collect())
    }

    fn pair(cert: &str, chain: &str) -> (String, String) {
        (cert.to_owned(), chain.to_owned())
    }

    #[test]
    fn what_envoy_writes_is_read() {
        let (a, b, c) = (url(A), url(B), url(C));
        let one = format!("Hash={HASH};Cert=\"{a}\";Chain=\"{a}{b}\"");
        assert_eq!(read(&one, 1), Some(vec![pair("A", "AB")]));
        let by = format!("By=spiffe://lab/ns/x/sa/y;Hash={HASH};Chain=\"{b}\"");
        assert_eq!(read(&by, 1), Some(vec![pair("", "B")]));
        let two = format!("Hash={HASH};Cert=\"{a}\",By=x;Hash={HASH};Cert=\"{b}\";Chain=\"{c}\"");
        assert_eq!(read(&two, 2), Some(vec![pair("A", ""), pair("B", "C")]));
        assert_eq!(read(&two, 3), Some(vec![pair("A", ""), pair("B", "C")]), "one hop short");
    }

    /// As Envoy 1.40 wrote it.
    #[test]
    fn the_json_form_is_read() {
        let (a, b) = (json(A), json(B));
        let value = format!(
            r#"[{{"by":["spiffe://mesh/edge"],"hash":"{HASH}","cert":"{a}","chain":["{a}","{b}"]}}]"#
        );
        assert_eq!(read(&value, 1), Some(vec![pair("A", "AB")]));
        let refused = [
            "[]".to_owned(),
            "[".to_owned(),
            format!("{value},{value}"),
            value.replace("\"by\"", "\"subject\""),
            value.replace("\"hash\"", "\"Hash\""),
            value.replace("\"hash\"", "\"hash\":\"\",\"hash\""),
            value.replace(HASH, &HASH[1..]),
            value.replace(&format!("\"cert\":\"{a}\""), &format!("\"cert\":\"{a}{b}\"")),
            value.replace("\"cert\":\"-----", "\"cert\":\" -----"),
        ];
        for value in refused {
            assert_eq!(read(&value, 1), None, "{value}");
        }
    }

    /// S29: a SAN URI `x;Subject=…` came out of Envoy as an element of its own (measured on 1.40).
    #[test]
    fn anything_else_is_refused() {
        let a = url(A);
        let refused = [
            "".to_owned(),
            format!("Hash={HASH};Cert=\"{a}\";URI=x:y;Subject=CN=admin,O=system:masters,By=z"),
            format!("Hash={HASH};Cert=\"{a}\";Subject=\"CN=x\""),
            format!("Hash={HASH};Cert=\"{a}\";DNS=x"),
            format!("Hash={HASH};Cert={a}"),
            format!("Hash={HASH};Cert=\"{a}"),
            format!("Hash={HASH};Cert=\"{a}\"b\""),
            format!("Hash={HASH};Cert=\"{a}{a}\""),
            format!("Hash={HASH};Cert=\"\""),
            format!("Hash={HASH};Chain=\"{a}\";Cert=\"{a}\""),
            format!("Hash={HASH};Cert=\"{a}\";Cert=\"{a}\""),
            format!("Hash={HASH};Cert=\"{a}\";"),
            format!("hash={HASH};Cert=\"{a}\""),
            format!("Hash={};Cert=\"{a}\"", HASH.to_uppercase()),
            format!("Hash={};Cert=\"{a}\"", &HASH[1..]),
            format!("By=\"x\";Hash={HASH};Cert=\"{a}\""),
            format!("Hash={HASH};By=x;Cert=\"{a}\""),
            format!("Cert=\"{a}\";Hash={HASH}"),
        ];
        for value in refused {
            assert_eq!(read(&value, 1), None, "{value}");
        }
        let one = format!("Hash={HASH};Cert=\"{a}\"");
        assert_eq!(
            read(&format!("{one},{one}"), 1),
            None,
            "one too many: somebody in front did not sanitise"
        );
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in r#"[\[\]{}",;=:A-z0-9%-]{0,80}"#, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _any = (parse(value.as_bytes(), 2, None), parse(&bytes, 2, None), parse(format!("[{value}]").as_bytes(), 2, None));
        }
    }
}
