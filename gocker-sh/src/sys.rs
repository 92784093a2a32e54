//! What has no safe wrapper: the scheduler. All of gocker-sh's unsafe code.

/// Nanoseconds: the shortest that the kernel grants (sched(7), EEVDF).
const SHORT_TURN: u64 = 100_000;

/// Asks for short turns on a processor, which come sooner: with as many stages at work as there are processors,
/// gocker-sh would wait for the end of one before it could start the next. Only if the user has asked for nothing
/// special; what is started from here on gets the usual turns again. Kernels before 6.12 do not listen.
pub fn ask_for_short_turns() {
    let mut attributes = libc::sched_attr {
        size: 0,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    let size = size_of_val(&attributes);
    // SAFETY: the kernel writes at most `size` bytes, which is what there is (sched_getattr(2)).
    let answer = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    let is_usual = attributes.sched_policy == libc::SCHED_OTHER.unsigned_abs() && attributes.sched_nice >= 0;
    if answer != 0 || !is_usual {
        return;
    }
    attributes.sched_flags = libc::SCHED_FLAG_RESET_ON_FORK as u64;
    attributes.sched_runtime = SHORT_TURN;
    // SAFETY: the kernel only reads the attributes, as many bytes as it has just said there are (sched_setattr(2)).
    // That it refuses changes nothing.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}
