#!/usr/bin/env python3
"""Writes the seccomp profile that the service runs under:  make-profile.py [--check]

The lists below are what a container of the service may ask of the kernel; everything else is refused. From them come
io-uring.json, for Docker, Podman and the kubelet, and seccompprofile.yaml, for the Security Profiles Operator. With
--check nothing is written; it fails when the files are not what the lists say.

The lists began as a trace of the subcommands, of a service with TLS, Redis, traces, the accounts service, reloads and a
drain, and of a shell as for `kubectl exec`: 74 system calls. Added were those that do the same in another version or on
another architecture (stat, fstat, newfstatat, statx), so that the next C library does not break, what an error path or a
debugging shell may want, and what runtimes do between putting the filter in force and starting the program.
"""
import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parent

# Each group with its reason. Names that an architecture does not have are passed over by the runtimes.
ALLOWED = {
    "io_uring, which this profile is for; default profiles refuse it": """
        io_uring_enter io_uring_register io_uring_setup""",
    "memory": """
        brk madvise mincore mlock mlock2 mmap mprotect mremap msync munlock munmap""",
    "threads, locks and processors": """
        arch_prctl exit exit_group futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue get_robust_list
        getcpu gettid membarrier rseq sched_getaffinity sched_getparam sched_getscheduler sched_setaffinity sched_yield
        set_robust_list set_thread_area set_tid_address set_tls tgkill""",
    "signals": """
        kill pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
        rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigreturn""",
    "time": """
        alarm clock_getres clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday
        nanosleep setitimer time times""",
    "files: certificates, secrets, logs": """
        access chdir close close_range copy_file_range dup dup2 dup3 faccessat faccessat2 fadvise64 fallocate fchdir
        fchmod fchmodat fchown fchownat fcntl fdatasync flock fstat fstatfs fsync ftruncate getcwd getdents getdents64
        inotify_add_watch inotify_init1 inotify_rm_watch ioctl link linkat lseek lstat mkdir mkdirat newfstatat open
        openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat
        readv rename renameat renameat2 rmdir sendfile stat statfs statx symlink symlinkat sync_file_range truncate
        umask unlink unlinkat utimensat write writev""",
    "sockets, once made": """
        accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmsg send
        sendmmsg sendmsg sendto setsockopt shutdown socketpair""",
    "waiting": """
        epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 poll ppoll ppoll_time64
        pselect6 pselect6_time64 select signalfd4 timerfd_create timerfd_gettime timerfd_settime""",
    "who and where this is": """
        capget getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid
        getrlimit getrusage getsid getuid ioprio_get prctl prlimit64 setrlimit sysinfo ugetrlimit uname""",
    "starting a program, and a shell's children": """
        execve execveat fork setpgid setsid vfork wait4 waitid waitpid""",
    "what a runtime does after the filter is in force, and root alone could use": """
        capset setgid setgroups setresgid setresuid setuid""",
}

# From <bits/socket.h>: local sockets, IPv4, IPv6. The fourth is what the C library asks for the machine's addresses, and
# only of the kernel's routing part (third argument 0). AF_ALG, AF_VSOCK, AF_PACKET and the like stay out.
SOCKET_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
AF_NETLINK = 16
NETLINK_ROUTE = 0

# The flags of clone(2) by which a process would get namespaces of its own.
NEW_NAMESPACES = 0x7E020000

ENOSYS = 38


def compare(index, value, operator="SCMP_CMP_EQ", second=None):
    argument = {"index": index, "value": value, "op": operator}
    if second is not None:
        argument["valueTwo"] = second
    return argument


def syscalls():
    rules = []
    for comment, names in ALLOWED.items():
        rules.append({"comment": comment, "names": sorted(names.split()), "action": "SCMP_ACT_ALLOW"})
    for name, family in SOCKET_FAMILIES.items():
        rules.append(
            {"comment": name, "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [compare(0, family)]})
    rules.append({
        "comment": "AF_NETLINK, NETLINK_ROUTE", "names": ["socket"], "action": "SCMP_ACT_ALLOW",
        "args": [compare(0, AF_NETLINK), compare(2, NETLINK_ROUTE)]})
    rules.append({
        "comment": "threads and processes, without namespaces of their own", "names": ["clone"],
        "action": "SCMP_ACT_ALLOW", "args": [compare(0, NEW_NAMESPACES, "SCMP_CMP_MASKED_EQ", 0)]})
    return rules


def docker_profile():
    # clone3 has its flags in memory, where a filter cannot look. ENOSYS makes the C library take clone instead.
    without_clone3 = {
        "comment": "the C library takes clone instead", "names": ["clone3"], "action": "SCMP_ACT_ERRNO",
        "errnoRet": ENOSYS}
    return {
        # What is refused looks like a system call that this kernel does not have: for that programs are prepared.
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": syscalls() + [without_clone3],
    }


def operator_profile():
    lines = [
        "# Made by make-profile.py, as io-uring.json is; for the Security Profiles Operator 0.9 and newer.",
        "# It keeps the profile as operator/transactions-service.json on each node, which is what localhostProfile names.",
        "# Unlike io-uring.json it allows clone3: errnoRet is text in one version of this API and a number in the next.",
        "apiVersion: security-profiles-operator.x-k8s.io/v1beta1",
        "kind: SeccompProfile",
        "metadata:",
        "  name: transactions-service",
        "spec:",
        "  defaultAction: SCMP_ACT_ERRNO",
        "  architectures: [SCMP_ARCH_X86_64, SCMP_ARCH_AARCH64]",
        "  syscalls:",
    ]
    rules = syscalls()
    rules.append({"comment": "threads", "names": ["clone3"], "action": "SCMP_ACT_ALLOW"})
    for rule in rules:
        lines.append(f"    # {rule['comment']}")
        lines.append(f"    - action: {rule['action']}")
        for argument in rule.get("args", []):
            text = ", ".join(f"{key}: {value}" for key, value in argument.items())
            if argument is rule["args"][0]:
                lines.append("      args:")
            lines.append(f"        - {{{text}}}")
        lines.append("      names:")
        lines += [f"        - {name}" for name in rule["names"]]
    return "\n".join(lines) + "\n"


def main():
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        return 0
    if sys.argv[1:] not in ([], ["--check"]):
        print("make-profile.py: takes --check or nothing", file=sys.stderr)
        return 2
    files = {
        FOLDER / "io-uring.json": json.dumps(docker_profile(), indent=2) + "\n",
        FOLDER / "seccompprofile.yaml": operator_profile(),
    }
    for path, text in files.items():
        if not sys.argv[1:]:
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            print(f"make-profile.py: {path.name} is not what the lists say; run make-profile.py", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
