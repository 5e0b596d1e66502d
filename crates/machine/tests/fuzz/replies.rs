//! Replies back to back, as they travel between nodes: what can be read is written as the same bytes.

use machine::Reply;
use model::Wire;
use model::wire::Input;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut rest = data;
    while let Ok(reply) = Reply::take(&mut input) {
        let (read, left) = rest.split_at(rest.len() - input.left());
        assert_eq!(reply.to_wire(), read);
        rest = left;
        if let Reply::Refused(refusal) = reply {
            assert!(!refusal.to_string().is_empty());
        }
    }
}
