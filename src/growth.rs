//! Arrays with an element for each mailbox. A `Vec` that grows by itself doubles, and for a million mailboxes half of that is a lot.

/// Makes the array at least `len` long, and has room for an eighth more.
pub(crate) fn at_least<T: Clone>(array: &mut Vec<T>, len: usize, value: T) {
    if array.len() >= len {
        return;
    }
    if array.capacity() < len {
        array.reserve_exact((len - array.len()).max(array.len() / 8));
    }
    array.resize(len, value);
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_grows_by_an_eighth_and_not_at_each_step() {
        let mut array = Vec::new();
        let mut moves = 0;
        for len in 0..100_000 {
            let before = array.capacity();
            super::at_least(&mut array, len, 7u8);
            moves += usize::from(array.capacity() != before);
        }
        assert!(array.capacity() < 113_000 && moves < 120, "{} {moves}", array.capacity());
        assert!(array.iter().all(|it| *it == 7));
    }
}
