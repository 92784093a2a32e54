//! The rules of a configuration as one program: which way was the kernel called, which number, which arguments.

use anyhow::{Result, ensure};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use super::bpf::{Instruction, Label, Test, Writer};
use super::syscalls::{self, Call};
use crate::spec::seccomp::first_argument;

/// linux/audit.h, AUDIT_ARCH_*.
const AUDIT_X86_64: u32 = 0xc000_003e;
const AUDIT_X86: u32 = 0x4000_0003;
/// asm/unistd.h, __X32_SYSCALL_BIT.
const X32_BIT: u32 = 0x4000_0000;
/// The number of a call that a tracer has taken back.
const SKIPPED: u32 = u32::MAX;

/// Offsets in struct seccomp_data (linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// linux/seccomp.h, SECCOMP_RET_*.
const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const USER_NOTIF: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

/// errno(3).
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The three ways to call an x86-64 kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Abi {
    X86_64,
    X86,
    X32,
}

/// All of a rule's conditions must hold.
type Conditions = Vec<LinuxSeccompArg>;

/// A rule, its system calls looked up.
struct Rule<'a> {
    calls: Vec<&'static Call>,
    args: &'a [LinuxSeccompArg],
    answer: u32,
}

/// What is to be done about one system call; the default if nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Verdict {
    always: Option<u32>,
    /// In the order of the configuration.
    sometimes: Vec<(Conditions, u32)>,
}

/// One for each number of an ABI.
#[derive(Debug)]
struct Verdicts {
    abi: Abi,
    /// By number, as far as rules name any.
    list: Vec<Verdict>,
}

/// Whether a rule, or the default, has this action.
pub fn uses(seccomp: &LinuxSeccomp, action: LinuxSeccompAction) -> bool {
    seccomp.default_action() == action
        || seccomp.syscalls().iter().flatten().any(|rule| rule.action() == action)
}

/// # Errors
/// What makes no sense, by the name of its field.
pub fn compile(seccomp: &LinuxSeccomp) -> Result<Vec<Instruction>> {
    let default = answer(seccomp.default_action(), seccomp.default_errno_ret())
        .map_err(|error| error.context("defaultErrnoRet"))?;
    ensure!(default != USER_NOTIF, "defaultAction: SCMP_ACT_NOTIFY would stop nsrun itself");
    let rules = seccomp.syscalls().as_deref().unwrap_or_default();
    let rules = rules.iter().enumerate().map(|(index, rule)| {
        look_up(rule, default).map_err(|error| error.context(format!("syscalls[{index}]")))
    });
    let rules: Vec<Rule> = rules.collect::<Result<_>>()?;
    let mut writer = Writer::default();
    let others = writer.answer(KILL_THREAD);
    let block = |writer: &mut Writer, abi| {
        let verdicts = Verdicts::of(&rules, abi, default);
        decide(writer, &Ranges::of(&verdicts, default).0, default)
    };
    let has = |wanted| wants(seccomp, wanted);
    let x86 = if has(Arch::ScmpArchX86) { block(&mut writer, Abi::X86) } else { others };
    let x32 = if has(Arch::ScmpArchX32) { block(&mut writer, Abi::X32) } else { others };
    let native = block(&mut writer, Abi::X86_64);
    let x32 = writer.test(Test::Equal, SKIPPED, native, x32);
    let by_number = writer.test(Test::GreaterOrEqual, X32_BIT, x32, native);
    let by_number = writer.load(NUMBER, u32::MAX, by_number);
    let x86 = writer.load(NUMBER, u32::MAX, x86);
    let x86 = if has(Arch::ScmpArchX86) { x86 } else { others };
    let start = writer.test(Test::Equal, AUDIT_X86, x86, others);
    let start = writer.test(Test::Equal, AUDIT_X86_64, by_number, start);
    let start = writer.load(ARCH, u32::MAX, start);
    Ok(writer.finish(start))
}

/// The native way is always open; one that this kernel does not have needs no rules.
fn wants(seccomp: &LinuxSeccomp, arch: Arch) -> bool {
    seccomp.architectures().iter().flatten().any(|one| *one == arch)
}

/// The kernel's number for an action.
fn answer(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32> {
    use LinuxSeccompAction::*;
    if let Some(errno) = errno {
        ensure!(matches!(action, ScmpActErrno | ScmpActTrace), "{action} answers no errno");
        ensure!(errno <= 4095, "{errno} is not an errno");
    }
    let errno = errno.unwrap_or(EPERM);
    Ok(match action {
        ScmpActKill | ScmpActKillThread => KILL_THREAD,
        ScmpActKillProcess => KILL_PROCESS,
        ScmpActTrap => TRAP,
        ScmpActErrno => ERRNO | errno,
        ScmpActNotify => USER_NOTIF,
        ScmpActTrace => TRACE | errno,
        ScmpActLog => LOG,
        ScmpActAllow => ALLOW,
    })
}

fn look_up(rule: &LinuxSyscall, default: u32) -> Result<Rule<'_>> {
    let answer = answer(rule.action(), rule.errno_ret()).map_err(|error| error.context("errnoRet"))?;
    ensure!(!rule.names().is_empty(), "names: there is none");
    let mut calls = Vec::with_capacity(rule.names().len());
    for name in rule.names() {
        let call = syscalls::find(name);
        // What is not known is not called either, unless the default lets it through.
        ensure!(
            call.is_some() || is_elsewhere(name) || !lets_through(default) || lets_through(answer),
            "names: system call {name} is not known, so it would be allowed"
        );
        ensure!(
            answer != USER_NOTIF || name != "sendmsg",
            "names: sendmsg cannot have SCMP_ACT_NOTIFY: it hands the listener over"
        );
        calls.extend(call);
    }
    let args = rule.args().as_deref().unwrap_or_default();
    for arg in args {
        ensure!(arg.index() < 6, "args: a system call has no argument {}", arg.index());
    }
    Ok(Rule { calls, args, answer })
}

fn lets_through(answer: u32) -> bool {
    matches!(answer, ALLOW | LOG)
}

/// Those of other machines that profiles for all machines name.
fn is_elsewhere(name: &str) -> bool {
    const ELSEWHERE: [&str; 6] = ["arm_", "s390_", "riscv_", "swapcontext", "sync_file_range2", "set_tls"];
    ELSEWHERE.iter().any(|other| name.starts_with(other))
}

impl Abi {
    fn number(self, call: &Call) -> Option<u16> {
        match self {
            Abi::X86_64 => call.x86_64,
            Abi::X86 => call.x86,
            Abi::X32 => call.x32,
        }
    }

    /// Its own number, and that of the call which it can also be had through.
    fn numbers(self, call: &Call) -> impl Iterator<Item = u16> {
        let through = call.through.filter(|_| self == Abi::X86);
        self.number(call).into_iter().chain(through.map(|(number, _)| number))
    }

    /// What is added to every number.
    fn bit(self) -> u32 {
        if self == Abi::X32 { X32_BIT } else { 0 }
    }
}

impl Verdicts {
    fn of(rules: &[Rule], abi: Abi, default: u32) -> Verdicts {
        let numbers = rules.iter().flat_map(|rule| &rule.calls).flat_map(|call| abi.numbers(call));
        let count = numbers.max().map_or(0, |last| usize::from(last) + 1);
        let mut list = vec![Verdict::default(); count];
        for rule in rules.iter().filter(|rule| rule.answer != default) {
            for call in &rule.calls {
                if let Some(verdict) = abi.number(call).and_then(|number| list.get_mut(usize::from(number))) {
                    verdict.add(rule);
                }
                if let (Abi::X86, [], Some((through, which))) = (abi, rule.args, call.through)
                    && let Some(verdict) = list.get_mut(usize::from(through))
                {
                    let which = first_argument(u64::from(which), LinuxSeccompOperator::ScmpCmpEq);
                    verdict.sometimes.push((vec![which], rule.answer));
                }
            }
        }
        Verdicts { abi, list }
    }
}

impl Verdict {
    fn add(&mut self, rule: &Rule) {
        let Rule { args, answer, .. } = *rule;
        let repeated =
            |arg: &LinuxSeccompArg| args.iter().filter(|one| one.index() == arg.index()).count() > 1;
        if args.is_empty() {
            self.always.get_or_insert(answer);
        } else if args.iter().any(repeated) {
            // As crun and runc do, for docker's oldest profiles: each condition is a rule.
            self.sometimes.extend(args.iter().map(|arg| (vec![*arg], answer)));
        } else {
            self.sometimes.push((args.to_vec(), answer));
        }
    }
}

/// What is done about the numbers of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate<'a> {
    Sure(u32),
    Depends(&'a Verdict),
}

/// Ranges of numbers, by their first; each ends where the next begins.
#[derive(Debug, Default)]
struct Ranges<'a>(Vec<(u32, Fate<'a>)>);

impl<'a> Ranges<'a> {
    fn of(verdicts: &'a Verdicts, default: u32) -> Ranges<'a> {
        let mut ranges = Ranges::default();
        ranges.put(0, Fate::Sure(default));
        let mut number = verdicts.abi.bit();
        for verdict in &verdicts.list {
            let fate = match verdict {
                Verdict { always: Some(answer), .. } => Fate::Sure(*answer),
                Verdict { sometimes, .. } if sometimes.is_empty() => Fate::Sure(default),
                _ => Fate::Depends(verdict),
            };
            ranges.put(number, fate);
            number += 1;
        }
        // A tracer answers for calls that it does not know itself.
        if !verdicts.list.is_empty() && !lets_through(default) && default & 0xffff_0000 != TRACE {
            ranges.put(number, Fate::Sure(ERRNO | ENOSYS));
        } else {
            ranges.put(number, Fate::Sure(default));
        }
        ranges
    }

    fn put(&mut self, start: u32, fate: Fate<'a>) {
        self.0.pop_if(|(begun, _)| *begun == start);
        if self.0.last().is_none_or(|(_, before)| *before != fate) {
            self.0.push((start, fate));
        }
    }
}

/// Finds the fate of a number that is loaded, by a search tree: the kernel runs a new filter for every number once
/// (seccomp_cache_prepare), so the depth of the program counts, not its length.
fn decide(writer: &mut Writer, ranges: &[(u32, Fate)], default: u32) -> Label {
    match ranges {
        [] => writer.answer(default),
        [(_, Fate::Sure(answer))] => writer.answer(*answer),
        [(_, Fate::Depends(verdict))] => {
            let mut otherwise = writer.answer(default);
            for (conditions, answer) in verdict.sometimes.iter().rev() {
                otherwise = all(writer, conditions, *answer, otherwise);
            }
            otherwise
        }
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let above = decide(writer, high, default);
            let below = decide(writer, low, default);
            writer.test(Test::GreaterOrEqual, high[0].0, above, below)
        }
    }
}

/// The answer if all conditions hold.
fn all(writer: &mut Writer, conditions: &[LinuxSeccompArg], answer: u32, otherwise: Label) -> Label {
    let mut yes = writer.answer(answer);
    for condition in conditions.iter().rev() {
        yes = compare(writer, condition, yes, otherwise);
    }
    yes
}

/// One 64-bit argument in two halves, the upper one first.
fn compare(writer: &mut Writer, arg: &LinuxSeccompArg, yes: Label, no: Label) -> Label {
    use LinuxSeccompOperator::*;
    // The mask is in the first value then, what it must leave in the second (seccomp_rule_add(3)).
    let (mask, value) = match arg.op() {
        ScmpCmpMaskedEq => (arg.value(), arg.value_two().unwrap_or(0)),
        _ => (u64::MAX, arg.value()),
    };
    let (yes, no, test) = match arg.op() {
        ScmpCmpEq | ScmpCmpMaskedEq => (yes, no, Test::Equal),
        ScmpCmpNe => (no, yes, Test::Equal),
        ScmpCmpGt => (yes, no, Test::Greater),
        ScmpCmpLe => (no, yes, Test::Greater),
        ScmpCmpGe => (yes, no, Test::GreaterOrEqual),
        ScmpCmpLt => (no, yes, Test::GreaterOrEqual),
    };
    let offset = ARGS + 8 * u32::try_from(arg.index()).unwrap_or(0);
    let lower = writer.test(test, half(value, 0), yes, no);
    let lower = writer.load(offset, half(mask, 0), lower);
    let upper = writer.test(Test::Equal, half(value, 32), lower, no);
    let upper = match test {
        Test::Equal => upper,
        _ => writer.test(Test::Greater, half(value, 32), yes, upper),
    };
    writer.load(offset + 4, half(mask, 32), upper)
}

fn half(value: u64, shift: u32) -> u32 {
    u32::try_from(value >> shift & 0xffff_ffff).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::bpf::run;

    fn filter(text: &str) -> Vec<Instruction> {
        compile(&serde_json::from_str(text).unwrap()).unwrap()
    }

    /// The answer to a call: architecture, number, first arguments.
    fn ask(program: &[Instruction], arch: u32, number: u32, args: &[u64]) -> u32 {
        let mut data = [0u32; 16];
        (data[0], data[1]) = (number, arch);
        for (index, arg) in args.iter().enumerate() {
            (data[4 + 2 * index], data[5 + 2 * index]) = (half(*arg, 0), half(*arg, 32));
        }
        run(program, &data)
    }

    fn native(program: &[Instruction], name: &str, args: &[u64]) -> u32 {
        ask(program, AUDIT_X86_64, u32::from(syscalls::find(name).unwrap().x86_64.unwrap()), args)
    }

    #[test]
    fn names_and_default() {
        let program = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","write","nil"],"action":"SCMP_ACT_ALLOW"},
            {"names":["mount"],"action":"SCMP_ACT_KILL_PROCESS"},{"names":["reboot"],"action":"SCMP_ACT_ERRNO","errnoRet":5}]}"#,
        );
        assert_eq!(native(&program, "read", &[]), ALLOW);
        assert_eq!(native(&program, "write", &[]), ALLOW);
        assert_eq!(native(&program, "open", &[]), ERRNO | 1);
        assert_eq!(native(&program, "mount", &[]), KILL_PROCESS);
        assert_eq!(native(&program, "reboot", &[]), ERRNO | 5);
        // Above all that is named.
        assert_eq!(ask(&program, AUDIT_X86_64, 169, &[]), ERRNO | 5);
        assert_eq!(ask(&program, AUDIT_X86_64, 170, &[]), ERRNO | ENOSYS);
        assert_eq!(ask(&program, AUDIT_X86_64, SKIPPED, &[]), ERRNO | ENOSYS);
        // Not among the architectures.
        assert_eq!(ask(&program, AUDIT_X86, 3, &[]), KILL_THREAD);
        assert_eq!(ask(&program, AUDIT_X86_64, X32_BIT, &[]), KILL_THREAD);
        assert_eq!(ask(&program, 7, 0, &[]), KILL_THREAD);
    }

    #[test]
    fn every_architecture_has_numbers_of_its_own() {
        let program = filter(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32","SCMP_ARCH_ARM"],
            "syscalls":[{"names":["socket","execve"],"action":"SCMP_ACT_TRAP"}]}"#,
        );
        assert_eq!(ask(&program, AUDIT_X86_64, 59, &[]), TRAP);
        assert_eq!(ask(&program, AUDIT_X86, 11, &[]), TRAP);
        assert_eq!(ask(&program, AUDIT_X86, 59, &[]), ALLOW);
        assert_eq!(ask(&program, AUDIT_X86_64, X32_BIT + 520, &[]), TRAP);
        // socketcall(SYS_SOCKET), socketcall(SYS_BIND).
        assert_eq!(ask(&program, AUDIT_X86, 102, &[1]), TRAP);
        assert_eq!(ask(&program, AUDIT_X86, 102, &[2]), ALLOW);
    }

    #[test]
    fn on_x86_a_call_without_a_number_of_its_own_goes_through_another() {
        let program = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],
            "syscalls":[{"names":["accept","semop"],"action":"SCMP_ACT_ALLOW"}]}"#,
        );
        assert_eq!(ask(&program, AUDIT_X86, 102, &[5]), ALLOW);
        assert_eq!(ask(&program, AUDIT_X86, 102, &[4]), ERRNO | 1);
        assert_eq!(ask(&program, AUDIT_X86, 117, &[1]), ALLOW);
        assert_eq!(ask(&program, AUDIT_X86, 117, &[2]), ERRNO | 1);
        assert_eq!(native(&program, "accept", &[]), ALLOW);
    }

    #[test]
    fn every_operator_on_both_halves() {
        let values = [0, 1, 5, 6, 7, 1 << 32, 5 | 1 << 32, 6 | 1 << 32, 7 | 1 << 32, 6 | 2 << 32, u64::MAX];
        type Holds = fn(u64, u64) -> bool;
        let operators: [(&str, Holds); 6] = [
            ("NE", |a, b| a != b),
            ("LT", |a, b| a < b),
            ("LE", |a, b| a <= b),
            ("EQ", |a, b| a == b),
            ("GE", |a, b| a >= b),
            ("GT", |a, b| a > b),
        ];
        for (name, holds) in operators {
            for datum in values {
                let program = filter(&format!(
                    r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["read"],"action":"SCMP_ACT_LOG",
                    "args":[{{"index":1,"value":{datum},"op":"SCMP_CMP_{name}"}}]}}]}}"#
                ));
                for value in values {
                    let wanted = if holds(value, datum) { LOG } else { ALLOW };
                    assert_eq!(native(&program, "read", &[9, value]), wanted, "{value} {name} {datum}");
                }
            }
        }
        let program = filter(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["clone"],"action":"SCMP_ACT_LOG",
            "args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#,
        );
        assert_eq!(native(&program, "clone", &[17]), LOG);
        assert_eq!(native(&program, "clone", &[0x1000_0000]), ALLOW);
        assert_eq!(native(&program, "clone", &[17 | 1 << 40]), LOG);
    }

    #[test]
    fn conditions_are_all_of_a_rule_or_any_of_several() {
        let program = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":1,"value":2,"op":"SCMP_CMP_EQ"}]},
            {"names":["socket"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":5,"op":"SCMP_CMP_EQ"}]},
            {"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":1,"op":"SCMP_CMP_EQ"},{"index":1,"value":2,"op":"SCMP_CMP_EQ"}]},
            {"names":["kill"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
            {"names":["kill"],"action":"SCMP_ACT_ALLOW"}]}"#,
        );
        assert_eq!(native(&program, "socket", &[1, 2]), ALLOW);
        assert_eq!(native(&program, "socket", &[1, 3]), ERRNO | 1);
        assert_eq!(native(&program, "socket", &[5, 2]), TRAP);
        assert_eq!(native(&program, "ioctl", &[0, 2]), ALLOW);
        assert_eq!(native(&program, "ioctl", &[0, 3]), ERRNO | 1);
        assert_eq!(native(&program, "kill", &[1]), ALLOW);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let refused =
            |text: &str| format!("{:#}", compile(&serde_json::from_str(text).unwrap()).unwrap_err());
        assert_eq!(
            refused(
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mount","nil"],"action":"SCMP_ACT_ERRNO"}]}"#
            ),
            "syscalls[0]: names: system call nil is not known, so it would be allowed"
        );
        assert_eq!(
            refused(r#"{"defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1}"#),
            "defaultErrnoRet: SCMP_ACT_KILL answers no errno"
        );
        assert_eq!(
            refused(
                r#"{"defaultAction":"SCMP_ACT_KILL","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#
            ),
            "syscalls[0]: args: a system call has no argument 6"
        );
    }

    #[test]
    fn every_number_of_dockers_default_is_decided_rightly() {
        let seccomp = crate::spec::seccomp::builtin(&Default::default());
        let program = compile(&seccomp).unwrap();
        let allowed = |name: &str| {
            seccomp.syscalls().iter().flatten().any(|rule| {
                rule.action() == LinuxSeccompAction::ScmpActAllow
                    && rule.args().is_none()
                    && rule.names().iter().any(|one| one == name)
            })
        };
        for (name, call) in syscalls::all() {
            if matches!(name, "clone" | "personality" | "socket" | "clone3" | "ipc" | "socketcall") {
                continue;
            }
            for (arch, abi) in [(AUDIT_X86_64, Abi::X86_64), (AUDIT_X86, Abi::X86), (AUDIT_X86_64, Abi::X32)]
            {
                let Some(number) = abi.number(call) else { continue };
                let got = ask(&program, arch, u32::from(number) | abi.bit(), &[]);
                let wanted = if allowed(name) { ALLOW } else { ERRNO | 1 };
                assert!(got == wanted || (got == ERRNO | ENOSYS && wanted == ERRNO | 1), "{name} {got:#x}");
            }
        }
        assert_eq!(native(&program, "clone3", &[]), ERRNO | ENOSYS);
        assert_eq!(native(&program, "clone", &[0x0200_0000]), ERRNO | 1);
        assert_eq!(native(&program, "socket", &[40]), ERRNO | 1);
        assert_eq!(native(&program, "socket", &[2]), ALLOW);
        assert_eq!(ask(&program, AUDIT_X86_64, 1000, &[]), ERRNO | ENOSYS);
        assert!(program.len() < 1000, "{}", program.len());
    }
}
