/** Folders of the system that programs need to run. */
export const systemFolders = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];

/** What a process may open for writing beside its workspace. */
export const devices = ['/dev/null', '/dev/zero', '/dev/full', '/dev/tty', '/dev/pts', '/dev/ptmx', '/dev/shm'];

/** What any process in a sandbox may read. */
export const readable = [...systemFolders, '/etc', '/opt', '/proc', '/sys', '/dev/random', '/dev/urandom'];
