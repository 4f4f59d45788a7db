//! `traceparent` and `tracestate` of W3C Trace Context (level 2), strictly: what is malformed is as if it were not there. The
//! propagator of `opentelemetry_sdk` (0.33) takes fields of any length and signs before numbers, which section 3.2.2 does not allow.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The span that a caller says it works for. Of two `traceparent` lines neither counts.
pub fn parent<'a>(
    mut traceparent: impl Iterator<Item = &'a [u8]>,
    tracestate: impl Iterator<Item = &'a [u8]>,
) -> Option<SpanContext> {
    let first = traceparent.next()?;
    if traceparent.next().is_some() {
        return None;
    }
    let (trace, span, flags) = fields(first.trim_ascii())?;
    let context = SpanContext::new(trace, span, flags, true, state(tracestate));
    context.is_valid().then_some(context)
}

/// Section 3.2: `00-<32>-<16>-<2>` in lower-case hexadecimal. What a later version appends is not looked at.
fn fields(header: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let known = header.get(..KNOWN)?;
    let dashes = [2, 35, 52];
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_fit = |(at, byte): (usize, &u8)| if dashes.contains(&at) { *byte == b'-' } else { is_hex(byte) };
    if !known.iter().enumerate().all(is_fit) {
        return None;
    }
    match (&header[..2], header.get(KNOWN)) {
        (b"ff", _) => return None,
        (b"00", Some(_)) => return None,
        (_, Some(next)) if *next != b'-' => return None,
        _ => {}
    }
    let text = std::str::from_utf8(known).ok()?;
    let trace = TraceId::from_hex(&text[3..35]).ok()?;
    let span = SpanId::from_hex(&text[36..52]).ok()?;
    let flags = u8::from_str_radix(&text[53..], 16).ok()?;
    // Section 3.2.2.5: flags that nobody knows are ignored.
    Some((trace, span, TraceFlags::new(flags) & TraceFlags::SAMPLED))
}

/// The length of version 00.
const KNOWN: usize = 55;

/// Section 3.3: lines are joined. A list that is malformed or too long is dropped; the parent counts all the same.
fn state<'a>(lines: impl Iterator<Item = &'a [u8]>) -> TraceState {
    let mut joined = Vec::new();
    for line in lines {
        if joined.len() + line.len() > MAX_STATE {
            return TraceState::default();
        }
        if !joined.is_empty() {
            joined.push(b',');
        }
        joined.extend_from_slice(line);
    }
    std::str::from_utf8(&joined).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// In bytes. Section 3.3.1.5: "vendors SHOULD propagate at least 512 characters".
const MAX_STATE: usize = 512;
