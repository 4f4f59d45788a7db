//! A profile as pprof reads it: a message of profile.proto (github.com/google/pprof/proto) in a gzip file. Of its fields those that are of use
//! without symbols.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;

use super::modules;
use super::threads::PERIOD;

/// Texts are numbers of entries in `string_table`, whose first is empty.
#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

/// The innermost location first.
#[derive(Clone, PartialEq, Eq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(uint64, tag = "4")]
    file_offset: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(int64, tag = "6")]
    build_id: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
}

/// The profile of what was counted. Go: `profileBuilder.build` of runtime/pprof.
pub(super) fn encode(
    counts: &HashMap<Vec<u64>, i64>,
    mappings: &[modules::Mapping],
    remarks: &[String],
    begin: SystemTime,
    duration: Duration,
) -> Vec<u8> {
    let mut texts = Texts::new();
    let cpu = ValueType { r#type: texts.number("cpu"), unit: texts.number("nanoseconds") };
    let mut profile = Profile {
        sample_type: vec![ValueType { r#type: texts.number("samples"), unit: texts.number("count") }, cpu],
        period_type: Some(cpu),
        period: PERIOD,
        time_nanos: nanoseconds(begin.duration_since(UNIX_EPOCH).unwrap_or_default()),
        duration_nanos: nanoseconds(duration),
        comment: remarks.iter().map(|remark| texts.number(remark)).collect(),
        ..Profile::default()
    };
    for (id, mapping) in (1..).zip(mappings) {
        profile.mapping.push(Mapping {
            id,
            memory_start: mapping.range.start,
            memory_limit: mapping.range.end,
            file_offset: mapping.offset,
            filename: texts.number(&mapping.file),
            build_id: texts.number(&mapping.build_id),
        });
    }
    let mut locations = HashMap::new();
    for (frames, count) in counts {
        let location = |address: &u64| {
            *locations.entry(*address).or_insert_with(|| {
                let within =
                    |mapping: &&Mapping| (mapping.memory_start..mapping.memory_limit).contains(address);
                let mapping_id = profile.mapping.iter().find(within).map_or(0, |mapping| mapping.id);
                let id = profile.location.last().map_or(1, |last| last.id + 1);
                profile.location.push(Location { id, mapping_id, address: *address });
                id
            })
        };
        let location_id = frames.iter().map(location).collect();
        profile.sample.push(Sample { location_id, value: vec![*count, count.saturating_mul(PERIOD)] });
    }
    profile.string_table = texts.table;
    gzip(&profile.encode_to_vec())
}

/// A gzip file (RFC 1952) with its contents as they are (RFC 1951 section 3.2.4): what compresses would be larger than all else that makes a
/// profile, and a profile is small.
fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut blocks = contents.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        file.push(u8::from(blocks.peek().is_none()));
        file.extend(length.to_le_bytes());
        file.extend((!length).to_le_bytes());
        file.extend(block);
    }
    file.extend(crc32(contents).to_le_bytes());
    file.extend(u32::try_from(contents.len()).unwrap_or_default().to_le_bytes());
    file
}

/// RFC 1952 section 8, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Of a profile, few of them.
struct Texts {
    table: Vec<String>,
}

impl Texts {
    fn new() -> Self {
        Self { table: vec![String::new()] }
    }

    fn number(&mut self, text: &str) -> i64 {
        let known = self.table.iter().position(|each| each == text);
        let number = known.unwrap_or_else(|| {
            self.table.push(text.to_owned());
            self.table.len() - 1
        });
        i64::try_from(number).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    /// Whatever reads gzip files reads ours, of one block and of many.
    #[test]
    fn a_gzip_file_gives_back_what_is_in_it() {
        for length in [1, 65_535, 65_536, 200_000] {
            let contents: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut read = Vec::new();
            GzDecoder::new(&*gzip(&contents)).read_to_end(&mut read).unwrap();
            assert!(read == contents, "{length}");
        }
    }
}
