//! As much of Markdown as the documents use.

/// One document, by its parts.
pub(super) struct Document {
    pub(super) path: String,
    pub(super) blocks: Vec<Block>,
    /// Each line that is in no block, with its number.
    pub(super) prose: Vec<(usize, String)>,
}

/// A fenced block.
pub(super) struct Block {
    /// `docs/operations.md:12`, the line of the fence.
    pub(super) place: String,
    pub(super) language: String,
    /// The words of the comment right above it.
    pub(super) marker: Option<String>,
    pub(super) text: String,
}

impl Document {
    pub(super) fn read(path: &str, text: &str) -> Self {
        let mut document = Self { path: path.to_owned(), blocks: Vec::new(), prose: Vec::new() };
        let mut open: Option<(Block, usize)> = None;
        let mut marker = None;
        for (number, line) in (1..).zip(text.lines()) {
            let bare = line.trim_start();
            match &mut open {
                Some(_) if bare.starts_with("```") => {
                    document.blocks.extend(open.take().map(|(block, _)| block));
                }
                Some((block, indent)) => {
                    let blanks = line.len() - bare.len();
                    block.text.push_str(&line[blanks.min(*indent)..]);
                    block.text.push('\n');
                }
                None => {
                    if let Some(language) = bare.strip_prefix("```") {
                        let block = Block {
                            place: format!("{path}:{number}"),
                            language: language.trim().to_owned(),
                            marker: marker.take(),
                            text: String::new(),
                        };
                        open = Some((block, line.len() - bare.len()));
                        continue;
                    }
                    let comment = bare.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
                    marker = comment.map(|words| words.trim().to_owned());
                    document.prose.push((number, line.to_owned()));
                }
            }
        }
        assert!(open.is_none(), "{path}: the last block has no end");
        document
    }

    /// What stands in backticks in the text, each with the line that its paragraph begins in.
    pub(super) fn code_spans(&self) -> Vec<(usize, String)> {
        let mut paragraphs: Vec<(usize, String)> = Vec::new();
        let mut is_open = false;
        for (number, line) in &self.prose {
            match paragraphs.last_mut().filter(|_| is_open && !line.is_empty()) {
                Some((_, text)) => text.extend([" ", line.trim()]),
                None => paragraphs.push((*number, line.clone())),
            }
            is_open = !line.is_empty();
        }
        let mut spans = Vec::new();
        for (number, text) in &paragraphs {
            let pieces: Vec<_> = text.split('`').collect();
            assert!(pieces.len() % 2 == 1, "{}:{number}: half of a piece of code", self.path);
            spans.extend(pieces.iter().skip(1).step_by(2).map(|span| (*number, (*span).to_owned())));
        }
        spans
    }
}

impl Block {
    pub(super) fn is_shell(&self) -> bool {
        matches!(self.language.as_str(), "sh" | "console" | "shell" | "bash")
    }

    /// The commands of a block for the shell: all of it, or of a session what follows the prompts.
    pub(super) fn commands(&self) -> String {
        if self.language != "console" {
            return self.text.clone();
        }
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("$ "));
        lines.fold(String::new(), |text, line| text + line + "\n")
    }
}

#[test]
fn blocks_are_found_with_their_markers() {
    let text = "\
# A

1. b

   <!-- not run: needs a Mac -->
   ```sh
   one
     two
   ```
<!-- lost -->

```console
$ three
four
```
`five` and `six
six`
";
    let document = Document::read("a.md", text);
    let [first, second] = document.blocks.as_slice() else { panic!("two blocks") };
    assert_eq!(first.marker.as_deref(), Some("not run: needs a Mac"));
    assert_eq!((first.text.as_str(), first.place.as_str()), ("one\n  two\n", "a.md:6"));
    assert_eq!(second.marker, None, "a comment belongs to the block right below it");
    assert_eq!(second.commands(), "three\n");
    assert_eq!(
        document.code_spans(),
        [(16, "five"), (16, "six six")].map(|(at, span)| (at, span.to_owned()))
    );
}
