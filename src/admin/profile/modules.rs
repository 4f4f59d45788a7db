//! The program and its libraries in memory, and what called what, by their `.eh_frame`.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use framehop::{
    CacheNative, ExplicitModuleSectionInfo, Module, MustNotAllocateDuringUnwind, UnwindRegsNative, Unwinder,
    UnwinderNative,
};
use object::elf::PF_X;
use object::read::elf::ElfFile64;
use object::{NativeEndian, Object, ObjectSection, ObjectSegment, ReadCache, SegmentFlags};
use perf_event::data::{Sample, SampleRegsAbi};

/// Code in memory: a line of `/proc/self/maps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) range: Range<u64>,
    /// Where in the file it begins.
    pub(super) offset: u64,
    pub(super) file: String,
    /// In hexadecimal; empty if the file has none.
    pub(super) build_id: String,
}

/// Finds out what called what.
pub(super) struct Modules {
    mappings: Vec<Mapping>,
    unwinder: UnwinderNative<Vec<u8>, MustNotAllocateDuringUnwind>,
    cache: CacheNative<MustNotAllocateDuringUnwind>,
}

impl Modules {
    pub(super) fn of_this_process() -> io::Result<Self> {
        let program = fs::read_link("/proc/self/exe")?;
        let (mut mappings, mut unwinder) = (Vec::new(), UnwinderNative::new());
        for line in BufReader::new(File::open("/proc/self/maps")?).lines() {
            let Some(mut mapping) = mapping(&line?) else { continue };
            let is_program = Path::new(&mapping.file) == program;
            // The file at its path may be another by now.
            let file = if is_program { Path::new("/proc/self/exe") } else { Path::new(&mapping.file) };
            // What has no tables, such as the vDSO, is unwound by frame pointers.
            if let Some((module, build_id)) = module(file, &mapping) {
                unwinder.add_module(module);
                mapping.build_id = build_id;
            }
            // pprof wants the program first.
            let at = if is_program { 0 } else { mappings.len() };
            mappings.insert(at, mapping);
        }
        Ok(Self { mappings, unwinder, cache: CacheNative::default() })
    }

    pub(super) fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// The address that a thread was at, then those within the instructions that called what it was in. Ends where the copy of the stack ends,
    /// or with what is no code.
    pub(super) fn frames(&mut self, sample: &Sample<'_>) -> Vec<u64> {
        let (Some(registers), Some(stack)) = (sample.regs_user(), sample.stack_user()) else {
            return Vec::new();
        };
        let (SampleRegsAbi::ABI_64, Some((at, sp, registers))) =
            (registers.abi, unwind_from(&registers.regs))
        else {
            return Vec::new();
        };
        let mut read = |address: u64| {
            let from = address.checked_sub(sp).and_then(|from| usize::try_from(from).ok()).ok_or(())?;
            let word = stack.get(from..).and_then(<[u8]>::first_chunk).ok_or(())?;
            Ok(u64::from_ne_bytes(*word))
        };
        let mut frames = Vec::new();
        let mut unwound = self.unwinder.iter_frames(at, registers, &mut self.cache, &mut read);
        while let Ok(Some(frame)) = unwound.next() {
            let address = frame.address_for_lookup();
            if frames.len() >= MAX_FRAMES || !self.mappings.iter().any(|code| code.range.contains(&address)) {
                break;
            }
            frames.push(address);
        }
        frames
    }
}

/// Those that the kernel copies, by their bits: RBP, RSP and RIP. Linux: arch/x86/include/uapi/asm/perf_regs.h.
#[cfg(target_arch = "x86_64")]
pub(super) const REGISTERS: u64 = 1 << 6 | 1 << 7 | 1 << 8;

/// X29, the link register, SP and PC. Linux: arch/arm64/include/uapi/asm/perf_regs.h.
#[cfg(target_arch = "aarch64")]
pub(super) const REGISTERS: u64 = 1 << 29 | 1 << 30 | 1 << 31 | 1 << 32;

/// Where to begin: the instruction, the stack pointer, and all that is needed besides.
#[cfg(target_arch = "x86_64")]
fn unwind_from(registers: &[u64]) -> Option<(u64, u64, UnwindRegsNative)> {
    let &[rbp, rsp, rip] = registers else { return None };
    Some((rip, rsp, UnwindRegsNative::new(rip, rsp, rbp)))
}

#[cfg(target_arch = "aarch64")]
fn unwind_from(registers: &[u64]) -> Option<(u64, u64, UnwindRegsNative)> {
    let &[x29, lr, sp, pc] = registers else { return None };
    let mask = framehop::aarch64::PtrAuthMask::new_24_40();
    Some((pc, sp, UnwindRegsNative::new_with_ptr_auth_mask(mask, lr, sp, x29)))
}

/// `7f0000001000-7f0000002000 r-xp 00001000 fe:00 123    /usr/lib/libc.so.6`, if it is code of a file or the vDSO. See proc_pid_maps(5).
fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (range, permissions, offset) = (fields.next()?, fields.next()?, fields.next()?);
    let (start, end) = range.split_once('-')?;
    let hexadecimal = |number| u64::from_str_radix(number, 16).ok();
    let file = fields.nth(2)?.trim_start();
    if !permissions.contains('x') || file.is_empty() {
        return None;
    }
    let range = hexadecimal(start)?..hexadecimal(end)?;
    Some(Mapping { range, offset: hexadecimal(offset)?, file: file.to_owned(), build_id: String::new() })
}

/// The tables of a file for one of its mappings, and its build id.
fn module(file: &Path, mapping: &Mapping) -> Option<(Module<Vec<u8>>, String)> {
    let cache = ReadCache::new(File::open(file).ok()?);
    let elf = ElfFile64::<NativeEndian, _>::parse(&cache).ok()?;
    // By how much all its addresses are moved.
    let code = elf.segments().find(|segment| {
        let SegmentFlags::Elf { p_flags } = segment.flags() else { return false };
        let (offset, size) = segment.file_range();
        p_flags & PF_X != 0
            && offset < mapping.offset + (mapping.range.end - mapping.range.start)
            && mapping.offset < offset + size
    })?;
    let base = mapping
        .range
        .start
        .wrapping_sub(mapping.offset)
        .wrapping_add(code.file_range().0)
        .wrapping_sub(code.address());
    let range = |name| {
        let section = elf.section_by_name(name)?;
        Some(section.address()..section.address() + section.size())
    };
    let data = |name| elf.section_by_name(name)?.data().ok().map(<[u8]>::to_vec);
    let sections = ExplicitModuleSectionInfo {
        text_svma: range(".text"),
        got_svma: range(".got"),
        eh_frame_svma: range(".eh_frame"),
        eh_frame: data(".eh_frame"),
        eh_frame_hdr_svma: range(".eh_frame_hdr"),
        eh_frame_hdr: data(".eh_frame_hdr"),
        ..ExplicitModuleSectionInfo::default()
    };
    let build_id = elf.build_id().ok().flatten().unwrap_or_default();
    let build_id = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
    Some((Module::new(mapping.file.clone(), mapping.range.clone(), base, sections), build_id))
}

/// Of a stack; Go has 64, and Rust's futures are nested deeper.
pub(super) const MAX_FRAMES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// Names with spaces are as they are; what is no code, or has no name, does not count.
    #[test]
    fn code_is_found_among_the_mappings() {
        let code =
            mapping("7f0000001000-7f0000003000 r-xp 00002000 fe:00 123                  /opt/a b (deleted)");
        let expected = Mapping {
            range: 0x7f00_0000_1000..0x7f00_0000_3000,
            offset: 0x2000,
            file: "/opt/a b (deleted)".to_owned(),
            build_id: String::new(),
        };
        assert_eq!(code, Some(expected));
        let vdso = mapping("7ffd0f9f2000-7ffd0f9f4000 r-xp 00000000 00:00 0                          [vdso]");
        assert_eq!(vdso.unwrap().file, "[vdso]");
        for other in [
            "7f0000001000-7f0000003000 r--p 00002000 fe:00 123                  /opt/a",
            "7f0000001000-7f0000003000 r-xp 00000000 00:00 0 ",
            "nonsense",
            "",
        ] {
            assert_eq!(mapping(other), None, "{other}");
        }
    }
}
