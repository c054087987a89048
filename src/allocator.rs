//! What the C library's allocator is told, so that memory which a start or a reload took goes back to the system. glibc only; other
//! systems' allocators give back by themselves.
//!
//! This is one of the files where `unsafe` is allowed: nothing safe wraps these two calls.
#![allow(unsafe_code, reason = "mallopt(3) and malloc_trim(3) have no safe wrapper")]

/// Pools from which threads take memory. The default is eight for each processor, each of which keeps what it once had; here up to 64
/// threads do small things for some seconds.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const POOLS: libc::c_int = 2;
/// Pieces from this size on are the system's own, and go back at once. Left alone, glibc raises this with each piece that is freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 256 * 1024;

/// To be called before there are threads.
pub fn set_up() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets numbers of the allocator, and takes any; there are no other threads that allocate at the same time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, POOLS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Gives back what is free. Takes a few milliseconds, so after something large and not in between.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim touches nothing but free memory, and locks the allocator itself.
    unsafe {
        libc::malloc_trim(0);
    }
}
