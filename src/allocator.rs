//! How the C library's allocator, which columns and librdkafka share, keeps memory.

#![allow(unsafe_code, reason = "one call into the C library, before there are other threads")]

/// Keeps the process about as large as what it holds, for glibc; other allocators are left as they are.
///
/// glibc gives each thread a heap of its own, up to eight per core, and what is freed in one serves no other: a column
/// grows in a worker's heap and is freed by whichever thread wrote it. Two heaps hold a fifth less than a dozen, and the
/// threads allocate too seldom to wait for each other: no CPU time was seen to be lost.
///
/// A column that grows leaves holes behind in a heap, as large together as itself. Beyond the size below it has pages of
/// its own, which the system moves without a copy and takes back whole. (glibc raises that limit by itself up to 32 MiB
/// when such a column is freed, unless it is set.) The chunks that are encoded and sent stay below: they come and go
/// by the thousand, and fresh pages for each would cost a tenth of the CPU time in all.
pub(crate) fn share_heaps() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const HEAPS: libc::c_int = 2;
        const OWN_PAGES: libc::c_int = 4 << 20;
        const KEPT_AT_THE_END: libc::c_int = 16 << 20;
        for (parameter, value) in
            [(libc::M_ARENA_MAX, HEAPS), (libc::M_MMAP_THRESHOLD, OWN_PAGES), (libc::M_TRIM_THRESHOLD, KEPT_AT_THE_END)]
        {
            // SAFETY: mallopt takes two numbers and keeps no pointer. It refuses what it does not know, which changes
            // nothing.
            unsafe { libc::mallopt(parameter, value) };
        }
    }
}
