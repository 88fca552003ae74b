// Confines a process and everything that it starts, then becomes it: no new privileges, Landlock (only the named paths), seccomp
// (no other namespaces, no tracing, no sockets but TCP), limits. It needs no privilege, and works in a hardened container.
//
//   toka-confine [--rw PATH] [--ro PATH] [--processes N] [--file-bytes N] [--files N] [--close FD] -- COMMAND …
//   toka-confine --init FOLDER [--wipe PATH] -- COMMAND …
//
// The second form is process 1 of a sandbox's container: it offers itself to a runner whose socket lies in FOLDER, runs COMMAND with
// the connection as file 3 for each lease, then ends what is left over, empties the wiped folders and offers itself again.
// Files that are open are closed before COMMAND begins: from FD on, or all after the connection.
// Built static, once for an image or a checkout; see landlock(7), seccomp(2) and capabilities(7).
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MANY 64
enum { CONNECTION = 3, OFFER_MS = 2000, RETRY_MS = 200, STALE_TURNS = 50 };

static _Noreturn void fail(const char *what) {
  dprintf(2, "toka-confine: %s: %s\n", what, strerror(errno));
  _exit(125);
}

// --- Landlock ---------------------------------------------------------------------------------------------------------------
// Newer kernels know more rights than the headers that this may be built with.
#define FS_RIGHTS_1 0x1fffULL /* ABI 1: 13 rights */
#define FS_REFER (1ULL << 13)
#define FS_TRUNCATE (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define OF_FILES (0x7ULL | FS_TRUNCATE | FS_IOCTL_DEV)
#define READ_ONLY 0xdULL /* execute, read a file, read a folder */
#define SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS 3ULL

struct rules { uint64_t fs, net, scoped; };

static void allow(int rules, const char *path, uint64_t rights) {
  struct landlock_path_beneath_attr beneath = {.parent_fd = open(path, O_PATH | O_CLOEXEC)};
  struct stat found;
  if (beneath.parent_fd < 0) {
    if (errno == ENOENT) return;
    fail(path);
  }
  if (fstat(beneath.parent_fd, &found)) fail(path);
  beneath.allowed_access = S_ISDIR(found.st_mode) ? rights : rights & OF_FILES;
  if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0)) fail(path);
  close(beneath.parent_fd);
}

static void confine_files(char **writable, char **readable) {
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) fail("Landlock is not there");
  struct rules known = {FS_RIGHTS_1, 0, 0};
  if (abi >= 2) known.fs |= FS_REFER;
  if (abi >= 3) known.fs |= FS_TRUNCATE;
  if (abi >= 5) known.fs |= FS_IOCTL_DEV;
  if (abi >= 6) known.scoped = SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS;
  size_t size = abi >= 6 ? sizeof known : abi >= 4 ? 16 : 8;
  int rules = syscall(SYS_landlock_create_ruleset, &known, size, 0);
  if (rules < 0) fail("landlock_create_ruleset");
  for (; *writable; writable++) allow(rules, *writable, known.fs);
  for (; *readable; readable++) allow(rules, *readable, READ_ONLY);
  if (syscall(SYS_landlock_restrict_self, rules, 0)) fail("landlock_restrict_self");
  close(rules);
}

// --- seccomp ----------------------------------------------------------------------------------------------------------------
#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "toka-confine knows x86_64 and aarch64"
#endif
// Numbers that the headers of an older kernel lack; they are the same everywhere.
enum { IO_URING_SETUP = 425, IO_URING_REGISTER = 427, OPEN_TREE = 428, MOUNT_SETATTR = 442, PIDFD_GETFD = 438, CLONE3 = 435,
       CLOSE_RANGE = 436, MEMFD_SECRET = 447, OPEN_TREE_ATTR = 467 };

#define NEW_NAMESPACES 0x7e020000u
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(code) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (code))
#define PASS BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define DENY(number) UNLESS(number, 1), ANSWER(EPERM)

static struct sock_filter filter[] = {
    LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    LOAD(nr),
    // x32 has the same calls under other numbers.
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1), ANSWER(ENOSYS),
    DENY(SYS_ptrace), DENY(SYS_process_vm_readv), DENY(SYS_process_vm_writev), DENY(PIDFD_GETFD), DENY(SYS_kcmp),
    DENY(SYS_unshare), DENY(SYS_setns), DENY(SYS_mount), DENY(SYS_umount2), DENY(SYS_pivot_root), DENY(SYS_chroot),
    DENY(MOUNT_SETATTR), DENY(OPEN_TREE_ATTR), BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, OPEN_TREE, 0, 2),
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 433, 1, 0), ANSWER(EPERM), // open_tree, move_mount, fsopen, fsconfig, fsmount, fspick
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, IO_URING_SETUP, 0, 2), BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, IO_URING_REGISTER, 1, 0),
    ANSWER(ENOSYS),
    DENY(SYS_keyctl), DENY(SYS_add_key), DENY(SYS_request_key), DENY(SYS_bpf), DENY(SYS_perf_event_open),
    DENY(SYS_userfaultfd), DENY(SYS_open_by_handle_at), DENY(SYS_fanotify_init), DENY(SYS_init_module),
    DENY(SYS_finit_module), DENY(SYS_delete_module), DENY(SYS_kexec_load), DENY(SYS_reboot), DENY(SYS_swapon), DENY(SYS_acct),
    // Memory that no process holds would be counted to nobody.
    UNLESS(SYS_memfd_create, 1), ANSWER(ENOSYS), UNLESS(MEMFD_SECRET, 1), ANSWER(ENOSYS),
    UNLESS(SYS_shmget, 1), ANSWER(ENOSYS), UNLESS(SYS_mq_open, 1), ANSWER(ENOSYS),
    // Its flags lie in memory, out of a filter's sight; everyone falls back to clone.
    UNLESS(CLONE3, 1), ANSWER(ENOSYS),
    UNLESS(SYS_clone, 4), LOAD(args[0]), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NEW_NAMESPACES, 0, 1), ANSWER(EPERM), PASS,
    UNLESS(SYS_ioctl, 5), LOAD(args[1]), UNLESS(TIOCSTI, 1), ANSWER(EPERM), UNLESS(0x541c /* TIOCLINUX */, 1), ANSWER(EPERM),
    LOAD(nr),
    // TCP alone: no UNIX sockets of the host's, no UDP, nothing raw, no other protocol of streams (MPTCP, SCTP).
    UNLESS(SYS_socket, 12), LOAD(args[0]), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 1, 0), ANSWER(EACCES), LOAD(args[1]),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SOCK_STREAM, 1, 0), ANSWER(EACCES),
    LOAD(args[2]), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 1, 0), ANSWER(EACCES),
    PASS,
};

static void confine_calls(void) {
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) fail("seccomp");
}

static void limit(int what, rlim_t most) {
  struct rlimit now;
  if (getrlimit(what, &now)) fail("getrlimit");
  if (now.rlim_max == RLIM_INFINITY || most < now.rlim_max) now.rlim_max = most;
  now.rlim_cur = now.rlim_max;
  if (setrlimit(what, &now)) fail("setrlimit");
}

// --- A container's process 1 --------------------------------------------------------------------------------------------------

// Everything in a folder, never through a link; the folder stays. What cannot be removed is left, and said.
static void empty(int folder) {
  DIR *entries = fdopendir(folder);
  if (!entries) return;
  for (struct dirent *entry; (entry = readdir(entries));) {
    const char *name = entry->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
    if (!unlinkat(folder, name, 0)) continue;
    int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0) {
      fchmodat(folder, name, 0700, 0);
      inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    } else fchmod(inner, 0700);
    if (inner >= 0) empty(inner);
    if (unlinkat(folder, name, AT_REMOVEDIR)) dprintf(2, "toka-confine: %s could not be removed: %s\n", name, strerror(errno));
  }
  closedir(entries);
}

static int offer_to(const char *folder, const char *name, const char *token, size_t bytes) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if ((size_t)snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", folder, name) >= sizeof address.sun_path) return -1;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) || write(fd, token, bytes) != (ssize_t)bytes) return close(fd), -1;
  struct pollfd answer = {fd, POLLIN, 0};
  char go = 0;
  // A runner that needs none now says nothing: then another is asked.
  if (poll(&answer, 1, OFFER_MS) == 1 && read(fd, &go, 1) == 1 && go == '!') return fd;
  return close(fd), -1;
}

static size_t read_token(const char *folder, char *token, size_t size) {
  char path[4096];
  snprintf(path, sizeof path, "%s/token", folder);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t bytes = read(fd, token, size);
  close(fd);
  return bytes > 0 ? (size_t)bytes : 0;
}

// Asks the runners that there are, beginning with any of them, until one wants it.
static int lease(const char *folder) {
  for (;;) {
    char token[256], names[MANY][108];
    int count = 0;
    size_t bytes = read_token(folder, token, sizeof token);
    DIR *entries = bytes ? opendir(folder) : NULL;
    for (struct dirent *entry; entries && count < MANY && (entry = readdir(entries));) {
      size_t length = strlen(entry->d_name);
      if (length > 5 && length < 100 && !strcmp(entry->d_name + length - 5, ".sock")) strcpy(names[count++], entry->d_name);
    }
    if (entries) closedir(entries);
    for (int turn = 0, first = count ? rand() % count : 0; turn < count; turn++) {
      int fd = offer_to(folder, names[(first + turn) % count], token, bytes);
      if (fd >= 0) return fd;
    }
    usleep(RETRY_MS * 1000);
  }
}

static void end_all(void) {
  for (int turn = 0; turn < STALE_TURNS; turn++) {
    kill(-1, SIGKILL);
    while (waitpid(-1, NULL, WNOHANG) > 0) {}
    if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD) return;
    usleep(10000);
  }
}

static void stop(int signal) { _exit(128 + signal); }

static _Noreturn void init(const char *folder, char **wiped, char **command) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  srand(now.tv_nsec ^ now.tv_sec);
  signal(SIGTERM, stop);
  signal(SIGINT, stop);
  signal(SIGPIPE, SIG_IGN);
  for (;;) {
    int fd = lease(folder);
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
      signal(SIGPIPE, SIG_DFL);
      if (fd == CONNECTION ? fcntl(fd, F_SETFD, 0) : dup2(fd, CONNECTION) < 0) fail("the connection");
      execvp(command[0], command);
      fail(command[0]);
    }
    struct pollfd gone = {fd, POLLRDHUP, 0};
    for (int alive = 1; alive && poll(&gone, 1, 100) == 0;)
      for (pid_t ended; (ended = waitpid(-1, NULL, WNOHANG)) > 0;) alive = alive && ended != child;
    close(fd);
    end_all();
    for (char **path = wiped; *path; path++) empty(open(*path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
}

int main(int count, char **words) {
  char *writable[MANY] = {0}, *readable[MANY] = {0}, *wiped[MANY] = {0}, *folder = NULL;
  int writables = 0, readables = 0, wipes = 0, at = 1;
  unsigned closed = CONNECTION + 1;
  rlim_t files = 4096;
  for (; at + 1 < count && strcmp(words[at], "--"); at += 2) {
    char *value = words[at + 1];
    if (writables == MANY - 1 || readables == MANY - 1 || wipes == MANY - 1) fail("too many paths");
    if (!strcmp(words[at], "--rw")) writable[writables++] = value;
    else if (!strcmp(words[at], "--ro")) readable[readables++] = value;
    else if (!strcmp(words[at], "--wipe")) wiped[wipes++] = value;
    else if (!strcmp(words[at], "--init")) folder = value;
    else if (!strcmp(words[at], "--processes")) limit(RLIMIT_NPROC, strtoull(value, NULL, 10));
    else if (!strcmp(words[at], "--file-bytes")) limit(RLIMIT_FSIZE, strtoull(value, NULL, 10));
    else if (!strcmp(words[at], "--files")) files = strtoull(value, NULL, 10);
    else if (!strcmp(words[at], "--close")) closed = strtoul(value, NULL, 10);
    else return dprintf(2, "toka-confine: %s is not an option\n", words[at]), 125;
  }
  if (at >= count - 1 || strcmp(words[at], "--")) return dprintf(2, "toka-confine: there is no -- COMMAND\n"), 125;
  char **command = words + at + 1;
  if (folder) init(folder, wiped, command);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, files);
  // Where memory runs out, the kernel takes a tool and not what looks after it.
  int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score >= 0) {
    if (write(score, "1000", 4) < 0) {}
    close(score);
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs");
  confine_files(writable, readable);
  if (syscall(CLOSE_RANGE, closed, ~0U, 0)) fail("close_range");
  confine_calls();
  execvp(command[0], command);
  fail(command[0]);
}
