//! Header names as the most careless server behind us may read them: case does not matter, and CGI and WSGI fold `-` and `_` together
//! (CVE-2025-64484).

/// Whether these may be one name.
pub fn same(name: &[u8], other: &[u8]) -> bool {
    name.len() == other.len() && name.iter().zip(other).all(|(a, b)| fold(*a) == fold(*b))
}

/// What is behind `prefix`, if `name` may begin so.
pub fn begins_with<'n>(name: &'n [u8], prefix: &[u8]) -> Option<&'n [u8]> {
    let (head, rest) = name.split_at_checked(prefix.len())?;
    same(head, prefix).then_some(rest)
}

/// What stands for a byte and all that it may be taken for.
pub fn fold(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}
