//! The CPU profile over the admin listener, as Go's net/http/pprof has it.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::read::GzDecoder;
use object::read::elf::ElfFile64;
use object::{NativeEndian, Object, ObjectSegment, ReadCache};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::message::{get, verdict};
use crate::support::program::{Server, program, until};

const FLAGS: [&str; 3] = ["--token-auth-file=tokens.csv", "--anonymous-auth=false", "--profiling"];

/// github.com/google/pprof/proto/profile.proto
#[derive(Message)]
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
    #[prost(message, required, tag = "11")]
    period_type: ValueType,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Message)]
struct ValueType {
    #[prost(uint64, tag = "1")]
    r#type: u64,
    #[prost(uint64, tag = "2")]
    unit: u64,
}

#[derive(Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(uint64, tag = "4")]
    file_offset: u64,
    #[prost(uint64, tag = "5")]
    filename: u64,
}

#[derive(Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
}

fn start(flags: &[&str]) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    let server = Server::start(folder.path(), flags);
    (folder, server)
}

async fn open(server: &Server, query: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.admin_address()).await.unwrap();
    let request = format!("GET /debug/pprof/profile{query} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Status, head and body.
async fn ask(server: &Server, query: &str) -> (u16, String, Vec<u8>) {
    let mut answer = Vec::new();
    open(server, query).await.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer[end + 4..].to_vec())
}

/// Status and message.
async fn refusal(server: &Server, query: &str) -> (u16, String) {
    let (status, _, body) = ask(server, query).await;
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// How much of the kernel's sampling the program has.
fn observed(server: &Server) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", server.process.id())).unwrap();
    let links = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().contains("perf_event")).count()
}

/// Whether whoever runs the tests may do what the program is to do.
fn is_allowed() -> bool {
    perf_event::Builder::new(perf_event::events::Software::CPU_CLOCK).build().is_ok()
}

/// The function that an address within a file is in.
fn names(file: &Path, profile: &Profile) -> HashMap<u64, String> {
    let cache = ReadCache::new(fs::File::open(file).unwrap());
    let elf = ElfFile64::<NativeEndian, _>::parse(&cache).unwrap();
    let symbols = elf.symbol_map();
    let name = |location: &Location| {
        let mapping = profile.mapping.iter().find(|mapping| mapping.id == location.mapping_id)?;
        let offset = location.address - mapping.memory_start + mapping.file_offset;
        let mut segments = elf.segments();
        let segment = segments.find(|segment| {
            (segment.file_range().0..segment.file_range().0 + segment.file_range().1).contains(&offset)
        })?;
        let symbol = symbols.before(offset - segment.file_range().0 + segment.address())?;
        (mapping.id == 1).then(|| (location.id, symbol.name().to_owned()))
    };
    profile.location.iter().filter_map(name).collect()
}

/// What `go tool pprof` looks at, and that the program under load answers every Check meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_profile_says_where_the_cpu_time_of_a_busy_server_goes() {
    let (_folder, server) = start(&FLAGS);
    assert_eq!(observed(&server), 0, "before anybody asks");
    let busy = AtomicBool::new(true);
    let checks = async {
        let mut client = server.client().await;
        let mut count = 0;
        while busy.load(Ordering::Relaxed) {
            let response = client.check(get("/", &[("authorization", b"Bearer token-1")])).await.unwrap();
            assert!(verdict(response.get_ref()).is_ok());
            count += 1;
        }
        count
    };
    let asked = async {
        let answer = ask(&server, "?seconds=2").await;
        busy.store(false, Ordering::Relaxed);
        answer
    };
    let (checks, (status, head, body)) = tokio::join!(checks, asked);
    assert!(checks > 0);
    assert_eq!(observed(&server), 0, "after the answer");
    if !is_allowed() {
        assert_eq!(status, 500, "{head}");
        return;
    }
    assert_eq!(status, 200, "{head}\n{}", String::from_utf8_lossy(&body));
    for line in
        ["content-type: application/octet-stream", "content-disposition: attachment; filename=\"profile\""]
    {
        assert!(head.contains(line), "{head}");
    }

    let mut message = Vec::new();
    GzDecoder::new(&body[..]).read_to_end(&mut message).unwrap();
    let profile = Profile::decode(&message[..]).unwrap();
    let text = |number: u64| &*profile.string_table[usize::try_from(number).unwrap()];
    let types = |value: &ValueType| (text(value.r#type), text(value.unit));
    let sample_types: Vec<_> = profile.sample_type.iter().map(types).collect();
    assert_eq!(sample_types, [("samples", "count"), ("cpu", "nanoseconds")]);
    assert_eq!((types(&profile.period_type), profile.period), (("cpu", "nanoseconds"), 10_000_000));
    assert!((2_000_000_000..20_000_000_000).contains(&profile.duration_nanos), "{}", profile.duration_nanos);
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    assert!((now - 60_000_000_000..now).contains(&profile.time_nanos), "{}", profile.time_nanos);
    assert_eq!(Path::new(text(profile.mapping[0].filename)), program(), "pprof wants the program first");
    for location in &profile.location {
        let mapping = profile.mapping.iter().find(|mapping| mapping.id == location.mapping_id).unwrap();
        assert!(
            (mapping.memory_start..mapping.memory_limit).contains(&location.address),
            "{location:?} {mapping:?}"
        );
    }
    if program() != Path::new(env!("CARGO_BIN_EXE_countersign")) {
        // That of the image has no names. tests/kube/profiling.rs is about those that have none.
        return;
    }
    let names = names(&program(), &profile);
    let mut through_us = 0;
    for sample in &profile.sample {
        let [count, time] = sample.value[..] else { panic!("{sample:?}") };
        assert!(count > 0 && time == count * profile.period && !sample.location_id.is_empty(), "{sample:?}");
        let stack: Vec<_> = sample.location_id.iter().filter_map(|id| names.get(id)).collect();
        // Mangled names have a length before each part.
        if stack.iter().any(|name| name.contains("11countersign")) {
            through_us += count;
        }
    }
    assert!(through_us > 0, "{names:?}");
}

/// Go takes 30 for nonsense.
#[tokio::test]
async fn a_profile_lasts_from_a_second_to_five_minutes() {
    let (_folder, server) = start(&FLAGS);
    let refused = (400, "seconds: must be a whole number from 1 to 300\n".to_owned());
    for seconds in ["0", "301", "-1", "1.5", "", "a", "99999999999999999999"] {
        assert_eq!(refusal(&server, &format!("?debug=0&seconds={seconds}")).await, refused, "{seconds}");
    }
}

/// Who goes away makes room for the next.
#[tokio::test]
async fn there_is_one_profile_at_a_time() {
    let (_folder, server) = start(&FLAGS);
    if !is_allowed() {
        assert_eq!(refusal(&server, "").await.0, 500);
        return;
    }
    let first = open(&server, "").await;
    let taken = (409, "Could not enable CPU profiling: cpu profiling already in use\n".to_owned());
    until("the first is under way", async || observed(&server) > 0).await;
    assert_eq!(refusal(&server, "?seconds=1").await, taken);
    drop(first);
    until("the first has gone", async || observed(&server) == 0).await;
    until("there is room", async || ask(&server, "?seconds=1").await.0 == 200).await;
}

#[tokio::test]
async fn a_profile_is_for_this_host_alone_and_only_with_the_flag() {
    let (_folder, server) = start(&FLAGS[..2]);
    assert_eq!(ask(&server, "?seconds=1").await.0, 404);
    let everywhere = "--admin-listen=0.0.0.0:0";
    let (_folder, server) = start(&[&FLAGS[..2], &[everywhere]].concat());
    assert_eq!(ask(&server, "?seconds=1").await.0, 404);
    let (_folder, server) = start(&[&FLAGS[..], &[everywhere]].concat());
    let words = "only where --admin-listen is a loopback address, with a certificate of --admin-tls-client-ca-file, or with --enable-debugging-handlers\n";
    assert_eq!(refusal(&server, "?seconds=1").await, (403, words.to_owned()));
    let (_folder, server) = start(&[&FLAGS[..], &[everywhere, "--enable-debugging-handlers"]].concat());
    assert_eq!(refusal(&server, "?seconds=0").await.0, 400);
}

/// As in a container with the usual profile of seccomp.
#[tokio::test]
async fn where_the_kernel_does_not_let_us_the_answer_says_so() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    let program = Server::command(folder.path(), &FLAGS);
    let mut forbidden = Command::new("python3");
    forbidden.args(["-c", FORBIDDING]).arg(program.get_program()).args(program.get_args());
    for (name, _) in program.get_envs().filter(|(_, value)| value.is_none()) {
        forbidden.env_remove(name);
    }
    forbidden.current_dir(folder.path());
    let server = Server::run(forbidden);
    let message = "Could not enable CPU profiling: Operation not permitted (os error 1); perf_event_open is forbidden here: by seccomp, \
        or because kernel.perf_event_paranoid is above 2\n";
    assert_eq!(refusal(&server, "?seconds=1").await, (500, message.to_owned()));
    let mut client = server.client().await;
    let response = client.check(get("/", &[("authorization", b"Bearer token-1")])).await.unwrap();
    assert!(verdict(response.get_ref()).is_ok());
}

/// Becomes the program that its arguments name, for which `perf_event_open` is EPERM.
const FORBIDDING: &str = r#"
import ctypes, os, platform, struct, sys
number = {"x86_64": 298, "aarch64": 241}[platform.machine()]
step = lambda *fields: struct.pack("HBBI", *fields)
# Is it this system call? Else it is allowed.
steps = step(0x20, 0, 0, 0) + step(0x15, 0, 1, number) + step(0x06, 0, 0, 0x00050001) + step(0x06, 0, 0, 0x7fff0000)
buffer = ctypes.create_string_buffer(steps)
program = struct.pack("HxxxxxxQ", 4, ctypes.addressof(buffer))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0
assert prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"#;
