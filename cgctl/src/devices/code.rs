//! From device rules to the instructions of a program for the kernel's BPF machine. Pure.
//!
//! The program gets `struct bpf_cgroup_dev_ctx` (linux/bpf.h): the kind of the device and the access, its major and its
//! minor number. It answers 1 to allow and 0 to deny. Each access (read, write, mknod) is decided by the last rule that
//! is about it and the device, so that the rules are tried from the last to the first; what is allowed is struck off what
//! was asked for.

use crate::device::{Kind, Rule, number};

/// One instruction, as `struct bpf_insn` lies in memory.
pub type Instruction = u64;

/// BPF_DEVCG_DEV_* and BPF_DEVCG_ACC_*.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;

/// Operations (linux/bpf_common.h, linux/bpf.h), each with a 32-bit operand where there is one.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const COPY: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP: u8 = 0x05;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const JUMP_IF_ANY: u8 = 0x46;
const EXIT: u8 = 0x95;

/// Registers.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
/// What was asked for and is not decided yet.
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

pub fn of(rules: &[Rule]) -> Vec<Instruction> {
    let mut code = vec![
        instruction(LOAD_WORD, ACCESS, CONTEXT, 0, 0),
        instruction(COPY, KIND, ACCESS, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        if rule.is_whole() {
            // What stands before it has no say, and the kernel takes no code that is never reached.
            code.extend(answer(rule.allow));
            return code;
        }
        code.extend(decision(rule));
    }
    // As on v1: what nothing is said about is allowed.
    code.extend(answer(true));
    code
}

fn answer(allow: bool) -> [Instruction; 2] {
    [instruction(MOVE, ANSWER, 0, 0, i32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

/// Goes on behind itself where the rule decides nothing.
fn decision(rule: &Rule) -> Vec<Instruction> {
    let access = access(rule.access());
    let mut end = match rule.allow {
        true => {
            vec![instruction(AND, ACCESS, 0, 0, !access), instruction(JUMP_UNLESS_EQUAL, ACCESS, 0, 2, 0)]
        }
        false => vec![instruction(JUMP_IF_ANY, ACCESS, 0, 1, access), instruction(JUMP, 0, 0, 2, 0)],
    };
    end.extend(answer(rule.allow));
    let mut code = Vec::new();
    let kind = match rule.kind() {
        Kind::All => None,
        Kind::Block => Some(BLOCK),
        Kind::Character => Some(CHARACTER),
    };
    let number = |n| number(n).map(u32::cast_signed);
    let wanted = [(KIND, kind), (MAJOR, number(rule.major)), (MINOR, number(rule.minor))];
    let wanted: Vec<(u8, i32)> =
        wanted.into_iter().filter_map(|(register, n)| Some((register, n?))).collect();
    for (at, (register, number)) in wanted.iter().enumerate() {
        let rest = i16::try_from(wanted.len() - at - 1 + end.len()).unwrap_or(0);
        code.push(instruction(JUMP_UNLESS_EQUAL, *register, 0, rest, *number));
    }
    code.extend(end);
    code
}

fn access(letters: &str) -> i32 {
    [('m', MKNOD), ('r', READ), ('w', WRITE)]
        .into_iter()
        .filter(|(letter, _)| letters.contains(*letter))
        .map(|(_, bit)| bit)
        .sum()
}

/// operation: 8 bits, destination and source: 4 bits each, offset: 16 bits, operand: 32 bits, little-endian.
fn instruction(operation: u8, to: u8, from: u8, offset: i16, operand: i32) -> Instruction {
    u64::from(operation)
        | u64::from(to) << 8
        | u64::from(from) << 12
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(operand.cast_unsigned()) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer: a machine for these few operations.
    fn run(code: &[Instruction], kind: i32, access: i32, major: u32, minor: u32) -> bool {
        let context = [(access << 16 | kind).cast_unsigned(), major, minor];
        let mut registers = [0u32; 6];
        let mut at = 0;
        loop {
            let word = code[at];
            let (to, from) = ((word >> 8 & 15) as usize, (word >> 12 & 15) as usize);
            let (offset, operand) = ((word >> 16 & 0xffff) as u16, (word >> 32) as u32);
            let mut jump = false;
            match (word & 0xff) as u8 {
                LOAD_WORD => registers[to] = context[usize::from(offset) / 4],
                MOVE => registers[to] = operand,
                COPY => registers[to] = registers[from],
                AND => registers[to] &= operand,
                SHIFT_RIGHT => registers[to] >>= operand,
                JUMP => jump = true,
                JUMP_UNLESS_EQUAL => jump = registers[to] != operand,
                JUMP_IF_ANY => jump = registers[to] & operand != 0,
                EXIT => return registers[0] == 1,
                other => panic!("operation {other:#x}"),
            }
            at += 1 + if jump { usize::from(offset) } else { 0 };
        }
    }

    fn rules(lines: &str) -> Vec<Rule> {
        let rule = |line: &str| {
            let allow = line.starts_with('+');
            Rule { allow, ..line[1..].parse().unwrap() }
        };
        lines.split(", ").map(rule).collect()
    }

    #[test]
    fn the_last_rule_about_a_device_and_an_access_decides() {
        let code = of(&rules("-a *:* rwm, +c 1:3 rwm, +c 10:* r, +c 10:5 w, +b *:* m, -c 1:3 w"));
        for (kind, access, major, minor, allowed) in [
            (CHARACTER, READ, 1, 3, true),
            (CHARACTER, WRITE, 1, 3, false),
            (CHARACTER, READ | WRITE, 1, 3, false),
            (CHARACTER, MKNOD, 1, 3, true),
            (BLOCK, READ, 1, 3, false),
            (CHARACTER, READ, 1, 4, false),
            (CHARACTER, READ, 10, 200, true),
            (CHARACTER, READ | WRITE, 10, 200, false),
            (CHARACTER, READ | WRITE, 10, 5, true),
            (BLOCK, MKNOD, 8, 0, true),
            (BLOCK, MKNOD | READ, 8, 0, false),
        ] {
            assert_eq!(run(&code, kind, access, major, minor), allowed, "{kind} {access} {major}:{minor}");
        }
    }

    #[test]
    fn without_a_denial_of_all_the_rest_is_allowed() {
        let code = of(&rules("-c 10:229 rwm"));
        assert!(!run(&code, CHARACTER, READ, 10, 229));
        assert!(run(&code, CHARACTER, READ, 10, 228));
        assert!(run(&of(&[]), BLOCK, READ | WRITE, 8, 0));
        // Nothing before an "all" is reached.
        assert_eq!(of(&rules("-c 1:3 rwm, +a *:* rwm")).len(), 8);
    }
}
