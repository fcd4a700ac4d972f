//! How the C library's allocator, which columns and librdkafka share, keeps memory.

#![allow(unsafe_code, reason = "one call into the C library, before there are other threads")]

/// Keeps the process about as large as what it holds, for glibc; other allocators are left as they are.
///
/// glibc gives each thread a heap of its own, up to eight per core, and what is freed in one serves no other: a column
/// grows in a worker's heap and is freed by whichever thread wrote it. Two heaps hold a fifth less than a dozen, and the
/// threads allocate too seldom to wait for each other: no CPU time was seen to be lost.
pub(crate) fn share_heaps() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const HEAPS: libc::c_int = 2;
        // SAFETY: mallopt takes two numbers and keeps no pointer. It refuses what it does not know, which changes nothing.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, HEAPS) };
    }
}
