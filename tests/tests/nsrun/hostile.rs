//! Root file systems that want to lead nsrun astray.

use super::{ROOTFS, host, run};

#[test]
fn proc_and_sys_are_not_mounted_through_links() {
    for name in ["proc", "sys"] {
        let host = host();
        host.sh(&format!("mkdir -p {ROOTFS}/elsewhere && ln -s /elsewhere {ROOTFS}/{name}")).ok();
        let kind = if name == "proc" { "proc" } else { "sysfs" };
        run(&host, &["--", "true"]).fails(
            125,
            &format!(
                "nsrun: cannot mount {kind} at /{name}: a symbolic link is in the way\n  hint: the image is at fault, or hostile\n"
            ),
        );
    }
}

#[test]
fn links_out_of_the_root_stay_inside() {
    let host = host();
    // Everything nsrun mounts on, writes to or reads, as a link to a place of the host.
    host.sh(&format!(
        "mkdir -p /run/victim && echo host > /run/victim/passwd && cd {ROOTFS} && ln -s /run/victim dev && ln -s /run/victim data \
         && ln -s ../../../../run/victim/hosts etc/hosts && ln -s /run/victim/resolv etc/resolv.conf \
         && rm etc/passwd && ln -s /run/victim/passwd etc/passwd"
    ))
    .ok();
    run(
        &host,
        &[
            "--volume=/run/victim:/data/vol:ro",
            "-w",
            "/data/cwd",
            "--",
            "sh",
            "-c",
            "head -n1 /etc/hosts; pwd; ls /data/vol",
        ],
    )
    .prints("127.0.0.1\tlocalhost\n/run/victim/cwd\npasswd");
    host.sh("ls /run/victim; cat /run/victim/passwd").prints("passwd\nhost");
    // They were made inside, where the links point to when that is the root.
    host.sh(&format!("ls {ROOTFS}/run/victim")).ok();
}

#[test]
fn an_account_file_that_is_none() {
    let host = host();
    host.sh(&format!("rm {ROOTFS}/etc/passwd && mkfifo {ROOTFS}/etc/passwd")).ok();
    run(&host, &["-u", "app", "--", "true"])
        .fails(125, "nsrun: cannot read the container's /etc/passwd: it is not a regular file\n");
    host.sh(&format!("rm {ROOTFS}/etc/passwd && ln -s /proc/self/environ {ROOTFS}/etc/passwd")).ok();
    run(&host, &["-u", "app", "--", "true"]).code(125);
}

#[test]
fn nsruns_own_file_is_not_executed_inside() {
    let host = host();
    // CVE-2019-5736.
    run(&host, &["--", "/proc/self/exe"]).fails(
        126,
        "nsrun: cannot execute /proc/self/exe: execve: ELOOP: Too many symbolic links encountered\n  hint: a link of /proc could \
         lead out of the container\n",
    );
    host.sh(&format!("ln -s /proc/self/exe {ROOTFS}/bin/trap")).ok();
    run(&host, &["--", "trap"]).code(126);
    // Nor can PID 1 be reached that is nsrun's own.
    let script = "cat /proc/1/exe > /dev/null; readlink /proc/1/exe; ls /proc/1/root; ls /proc/1/fd";
    let output = run(&host, &["--init", "--", "sh", "-c", script]);
    assert_eq!(output.stdout, "", "{output}");
    assert!(output.stderr.contains("Permission denied"), "{output}");
}

#[test]
fn a_null_device_that_is_none_hides_nothing_wrong() {
    let host = host();
    host.sh("mkdir /run/dev && echo secret > /run/dev/null").ok();
    run(&host, &["--volume=/run/dev:/dev", "--", "true"])
        .fails(125, "nsrun: cannot hide paths: the container's /dev/null is not the null device\n");
    host.sh("rm -r /run/dev").ok();
}

#[test]
fn a_copy_of_the_running_system() {
    let host = host();
    host.sh("mkdir -p /run/copy && mount -t tmpfs t /run/copy && mkdir /run/copy/u /run/copy/w /run/copy/m \
         && mount -t overlay -o lowerdir=/,upperdir=/run/copy/u,workdir=/run/copy/w o /run/copy/m")
        .ok();
    host.run(&[
        "nsrun",
        "--doc=/dev/null",
        "--rootfs=/run/copy/m",
        "--",
        "bash",
        "-c",
        "echo $$ $(id -un); touch /new; ps -e | wc -l",
    ])
    .prints("1 root\n4");
    host.sh("test ! -e /new && umount -R /run/copy && rmdir /run/copy").ok();
}
