//! What is kept in memory and is no longer needed: by the allocator, and of the program's own file.
//!
//! Owns the calls to C and nothing else; elsewhere than on Linux with glibc they do nothing. Idle memory is what they are for, never
//! correctness: nobody looks at what they return.

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

/// Lets go of those pages of the program's file and of its libraries that only its start has needed: 3 MB of 17, of which half is needed again in the minute after. What runs again is read
/// again, from the system's cache as a rule. To be called once, when the start is over.
pub fn let_go_of_the_program() {
    give_back();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        for (from, to) in only_read(&maps) {
            #[expect(unsafe_code, reason = "a call to C about memory that comes back from the file when it is touched")]
            // SAFETY: the range is a mapping of a file, as the system has just said, of which no page was written to and none may
            // be; dropping its pages changes nothing that can be read there.
            unsafe {
                libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_DONTNEED);
            }
        }
    }
}

/// The mappings of files that nobody may write to and nobody has: what the loader has put right in its copy of the file
/// counts as written. `smaps`: as Linux has it in /proc/PID/smaps.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn only_read(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut lines = smaps.lines().peekable();
    while let Some(line) = lines.next() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let is_of_it = words.nth(3).is_some_and(|file| file.starts_with('/')) && matches!(rights, "r-xp" | "r--p");
        let Some((from, to)) = range.split_once('-').filter(|_| is_of_it) else { continue };
        // What is said of a mapping follows it, a line each, with the name first.
        let mut untouched = 0;
        while let Some(says) =
            lines.next_if(|line| line.split_whitespace().next().is_some_and(|word| word.ends_with(':')))
        {
            let is_none = says.ends_with(" 0 kB");
            let counts =
                ["Private_Dirty:", "Shared_Dirty:", "Anonymous:", "Swap:"].iter().any(|name| says.starts_with(name));
            untouched += usize::from(counts && is_none);
        }
        if let (4, Ok(from), Ok(to)) = (untouched, usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)) {
            found.push((from, to));
        }
    }
    found
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_has_written_to_is_let_go_of() {
        let of = |range: &str, rights: &str, dirty: u32, file: &str| {
            format!(
                "{range} {rights} 00000000 08:01 42 {file}\nSize: 8 kB\nShared_Dirty: 0 kB\nPrivate_Dirty: {dirty} kB\nAnonymous: {dirty} kB\nSwap: 0 kB\nVmFlags: rd ex mr\n"
            )
        };
        let smaps = [
            of("1000-3000", "r--p", 0, "/app/watchbell"),
            of("3000-5000", "r-xp", 0, "/app/watchbell"),
            // What the loader has put right.
            of("5000-7000", "r--p", 8, "/app/watchbell"),
            of("7000-9000", "rw-p", 0, "/app/watchbell"),
            of("9000-b000", "r-xp", 0, "/lib/libc.so.6"),
            of("d000-e000", "r-xp", 0, "[vdso]"),
            of("e000-f000", "r--s", 0, "/app/shared"),
            "b000-c000 r-xp 00000000 08:01 42 /app/watchbell\nSize: 4 kB\n".to_owned(),
        ]
        .concat();
        assert_eq!(only_read(&smaps), [(0x1000, 0x3000), (0x3000, 0x5000), (0x9000, 0xb000)]);
        // The program of this very test goes on after it.
        let_go_of_the_program();
        assert!(!only_read(&std::fs::read_to_string("/proc/self/smaps").expect("on Linux")).is_empty());
    }
}
