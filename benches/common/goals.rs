//! The goals, and whether they are met.

use std::fmt;

use crate::table::Table;

#[derive(Default)]
pub(crate) struct Goals(Vec<[String; 3]>);

impl Goals {
    pub(crate) fn add(&mut self, goal: &str, measured: String, is_met: bool) {
        self.0.push([goal.to_owned(), measured, (if is_met { "met" } else { "**not met**" }).to_owned()]);
    }
}

impl fmt::Display for Goals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["goal", "measured", ""]);
        self.0.iter().for_each(|row| table.row(row.clone()));
        table.fmt(f)
    }
}
