//! To whom things happen: a few users are busy, as Zipf's law has it.

/// The user of rank r is drawn with a weight of 1 / r^exponent, and the ranks are spread over the users.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skew {
    users: usize,
    exponent: f64,
    /// Between the users of neighbouring ranks. It has no divisor in common with the number of users, so each has one rank.
    stride: usize,
}

impl Skew {
    pub(crate) fn new(users: usize, exponent: f64) -> Self {
        let stride = (users * 5 / 8..).find(|&stride| gcd(stride, users) == 1).unwrap_or(1);
        Self { users, exponent, stride }
    }

    pub(crate) fn draw(&self, random: &mut fastrand::Rng) -> usize {
        // The integral of the weights, turned around; good enough for a load. `end` is where the ranks end.
        let (part, end) = (random.f64(), self.users as f64 + 1.0);
        let rest = 1.0 - self.exponent;
        let rank = if rest.abs() < 1e-6 {
            end.powf(part)
        } else {
            part.mul_add(end.powf(rest) - 1.0, 1.0).powf(rest.recip())
        };
        let rank = (rank as usize).clamp(1, self.users.max(1)) - 1;
        // Neighbours in rank are no neighbours in the tree.
        rank * self.stride % self.users.max(1)
    }
}

const fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
