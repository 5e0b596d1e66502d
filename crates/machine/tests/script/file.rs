//! A script's text: its shard, then blocks of lines to run and lines that they print.

use model::ShardId;

pub(crate) struct Script {
    pub(crate) shard: ShardId,
    /// Everything up to and with the line that names the shard.
    head: Vec<String>,
    pub(crate) blocks: Vec<Block>,
    /// Comments after the last block.
    tail: Vec<String>,
}

pub(crate) struct Block {
    /// Counted from 1.
    pub(crate) first_line: usize,
    pub(crate) input: Vec<String>,
    expected: Vec<String>,
    pub(crate) printed: Vec<String>,
}

impl Script {
    pub(crate) fn parse(text: &str) -> Result<Script, String> {
        let mut lines = text.lines().map(str::to_owned).enumerate();
        let mut head = Vec::new();
        let shard = loop {
            let Some((_, line)) = lines.next() else { return Err("1: no line `shard <number>`".into()) };
            let shard = line.strip_prefix("shard ").map(str::parse);
            head.push(line);
            if let Some(shard) = shard {
                break ShardId(shard.map_err(|_| "the shard is not a number")?);
            }
        };
        let mut script = Script { shard, head, blocks: Vec::new(), tail: Vec::new() };
        while let Some((number, line)) = lines.next() {
            // Empty lines between blocks are put back by `text`.
            if line.is_empty() && script.tail.is_empty() {
                continue;
            }
            if line != "---" {
                script.tail.push(line);
                continue;
            }
            let input = std::mem::take(&mut script.tail);
            let first_line = number + 1 - input.len();
            let expected = lines.by_ref().map(|(_, line)| line).take_while(|line| !line.is_empty()).collect();
            script.blocks.push(Block { first_line, input, expected, printed: Vec::new() });
        }
        if script.tail.iter().any(|line| !line.is_empty() && !line.starts_with('#')) {
            return Err("the last lines are not followed by `---`".into());
        }
        Ok(script)
    }

    /// The file with what was printed in the place of what was expected.
    pub(crate) fn text(&self) -> String {
        let mut parts = vec![self.head.join("\n")];
        for block in &self.blocks {
            let lines: Vec<&str> = block
                .input
                .iter()
                .map(String::as_str)
                .chain(["---"])
                .chain(block.printed.iter().map(String::as_str))
                .collect();
            parts.push(lines.join("\n"));
        }
        if !self.tail.is_empty() {
            parts.push(self.tail.join("\n"));
        }
        parts.join("\n\n") + "\n"
    }

    pub(crate) fn differences(&self) -> impl Iterator<Item = String> + '_ {
        let different = self.blocks.iter().filter(|block| block.expected != block.printed);
        different.map(|block| {
            let Block { first_line, input, expected, printed } = block;
            let [input, expected, printed] = [input, expected, printed].map(|lines| lines.join("\n    "));
            format!("{first_line}:\n    {input}\n  expected\n    {expected}\n  printed\n    {printed}\n")
        })
    }
}
