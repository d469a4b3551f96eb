//! What the allocator keeps of the memory that the program no longer needs.
//!
//! Owns the calls to glibc and nothing else; where the allocator is another one, both do nothing. Idle memory is what they are
//! for, never correctness: nobody looks at what they return.

/// What is larger than this, in bytes, gets pages of its own from the system, which go back with it and cost nothing until they
/// are touched. It is what glibc begins with; left alone it raises it to what was freed last, and sled's table of pages, 6 MB and
/// nearly empty, was written full of zeros when the database was opened again: 2 MB.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const PAGES_OF_ITS_OWN_BYTES: libc::c_int = 128 << 10;

/// Lets all threads share one heap. glibc would give each of the program's threads its own, and what one has freed serves no
/// other: 2.5 MB with 1,000 incidents open. To be called before there is a second thread.
pub fn one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "calls to C with two numbers, which touch nothing of ours")]
    // SAFETY: mallopt takes two integers by value, may be called at any time, and both only say what is done from now on.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, PAGES_OF_ITS_OWN_BYTES);
    }
}

/// Gives back to the system what is free. To be called after work that needs much for a short time, as a start does.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "a call to C with a number, which touches nothing that is in use")]
    // SAFETY: malloc_trim takes an integer by value, locks for itself, and only releases pages that hold nothing.
    unsafe {
        libc::malloc_trim(0);
    }
}
