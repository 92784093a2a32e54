//! Writes classic BPF (kernel documentation, "seccomp_filter"; bpf(4) of BSD), from its end to its beginning: a jump
//! goes forward only, so what it goes to is there already.

/// One instruction, as struct sock_filter has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// Compares the accumulator with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// A place in the program, counted from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// The longest conditional jump, less what [`Writer::test`] may have to put between.
const REACH: usize = 250;

/// A program that grows towards its beginning.
#[derive(Debug, Default)]
pub struct Writer {
    /// The last instruction first.
    code: Vec<Instruction>,
    returns: Vec<(u32, Label)>,
}

impl Writer {
    /// Ends the program with this answer.
    pub fn answer(&mut self, value: u32) -> Label {
        let near = |writer: &Writer, label: Label| writer.code.len() - label.0 < REACH / 2;
        if let Some((_, label)) = self.returns.iter().find(|(known, _)| *known == value)
            && near(self, *label)
        {
            return *label;
        }
        let label = self.push(RETURN, 0, 0, value);
        self.returns.retain(|(known, _)| *known != value);
        self.returns.push((value, label));
        label
    }

    /// Loads the word at an offset of struct seccomp_data, keeps the bits of `mask`, and goes on at `next`.
    pub fn load(&mut self, offset: u32, mask: u32, next: Label) -> Label {
        let mut next = self.adjacent(next);
        if mask != u32::MAX {
            next = self.push(AND, 0, 0, mask);
        }
        debug_assert_eq!(next.0 + 1, self.code.len());
        self.push(LOAD, 0, 0, offset)
    }

    /// Goes on at one of two places.
    pub fn test(&mut self, test: Test, value: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let yes = self.within_reach(yes);
        let no = self.within_reach(no);
        let (jt, jf) = (self.distance(yes), self.distance(no));
        self.push(test as u16, jt, jf, value)
    }

    /// The program.
    pub fn finish(mut self, start: Label) -> Vec<Instruction> {
        self.adjacent(start);
        self.code.reverse();
        self.code
    }

    /// The place itself, or a jump to it, as the first instruction there is.
    fn adjacent(&mut self, label: Label) -> Label {
        if label.0 + 1 == self.code.len() { label } else { self.jump(label) }
    }

    fn within_reach(&mut self, label: Label) -> Label {
        if self.code.len() - label.0 < REACH { label } else { self.jump(label) }
    }

    fn jump(&mut self, label: Label) -> Label {
        let distance = u32::try_from(self.code.len() - 1 - label.0).unwrap_or(u32::MAX);
        self.push(JUMP, 0, 0, distance)
    }

    /// From an instruction that is yet to be written.
    fn distance(&self, label: Label) -> u8 {
        u8::try_from(self.code.len() - 1 - label.0).unwrap_or(u8::MAX)
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.code.push(Instruction { code, jt, jf, k });
        Label(self.code.len() - 1)
    }
}

/// A program as a string of hexadecimal digits, 16 for each instruction: a tree of JSON objects would take longer to
/// read than the whole rest of `exec`.
pub mod digits {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Instruction;

    pub fn serialize<S: Serializer>(program: &[Instruction], serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(16 * program.len());
        for Instruction { code, jt, jf, k } in program {
            let number = u64::from(*code) << 48 | u64::from(*jt) << 40 | u64::from(*jf) << 32 | u64::from(*k);
            let digit = |shift: u32| char::from_digit(u32::try_from(number >> shift & 0xf).ok()?, 16);
            text.extend((0u32..64).step_by(4).rev().filter_map(digit));
        }
        serializer.serialize_str(&text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Instruction>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (chunks, rest) = text.as_bytes().as_chunks::<16>();
        let one = |chunk: &[u8; 16]| {
            let number = u64::from_str_radix(std::str::from_utf8(chunk).ok()?, 16).ok()?;
            Some(Instruction {
                code: u16::try_from(number >> 48).ok()?,
                jt: u8::try_from(number >> 40 & 0xff).ok()?,
                jf: u8::try_from(number >> 32 & 0xff).ok()?,
                k: u32::try_from(number & 0xffff_ffff).ok()?,
            })
        };
        let program: Option<Vec<Instruction>> = chunks.iter().map(one).collect();
        program.filter(|_| rest.is_empty()).ok_or_else(|| D::Error::custom("it is no BPF program"))
    }
}

/// What the kernel would answer. For tests: a BPF machine as small as the instructions above.
#[cfg(test)]
pub fn run(program: &[Instruction], data: &[u32; 16]) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            LOAD => accumulator = data[k as usize / 4],
            AND => accumulator &= k,
            JUMP => at += k as usize,
            RETURN => return k,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}
