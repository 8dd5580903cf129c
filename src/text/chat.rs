//! The chat format `vicuna_v1.1`: `system USER: question ASSISTANT: answer</s>USER: question ASSISTANT:`.
//!
//! A user's turn ends in one space, an assistant's turn in `</s>` with nothing after it. Officially the template exists
//! twice and the two differ by one space in front, which costs one token; each is kept where it was used.

use super::prompt::place_images;
use super::special::SpecialTokens;

/// The sentence with which conversations begin.
pub const SYSTEM: &str = "A chat between a curious user and an artificial intelligence assistant. The assistant gives \
                      helpful, detailed, and polite answers to the user's questions.";

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `USER`.
    User,
    /// `ASSISTANT`.
    Assistant,
}

impl Role {
    /// The name in the prompt.
    pub fn name(self) -> &'static str {
        match self {
            Role::User => "USER",
            Role::Assistant => "ASSISTANT",
        }
    }

    /// What ends a turn.
    pub fn separator(self) -> &'static str {
        match self {
            Role::User => " ",
            Role::Assistant => SpecialTokens::EOS,
        }
    }
}

/// A conversation to be written as a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    system: String,
    turns: Vec<(Role, String)>,
}

impl Chat {
    /// The template that instruction tuning uses (`omni/conversation/conversation.py`).
    pub fn training() -> Self {
        Self::with_system(SYSTEM)
    }

    /// The template that the official evaluations ask with (`omni/utils/conversation.py`): one more space in front.
    pub fn evaluation() -> Self {
        Self::with_system(format!(" {SYSTEM}"))
    }

    /// The same format with another system sentence.
    pub fn with_system(system: impl Into<String>) -> Self {
        Chat { system: system.into(), turns: Vec::new() }
    }

    /// Adds a turn.
    pub fn turn(mut self, role: Role, text: impl Into<String>) -> Self {
        self.turns.push((role, text.into()));
        self
    }

    /// Adds a question about `images` pictures, which stand where it has `<image>` placeholders, or directly in front of it
    /// if it has none.
    pub fn ask(self, images: usize, question: &str) -> Self {
        self.turn(Role::User, place_images(question, images))
    }

    /// The text that a conversation begins with.
    pub fn opening(&self) -> String {
        format!("{} ", self.system)
    }

    /// The text of the next question, up to where the answer begins: what a conversation that was read so far goes on with.
    pub fn question(images: usize, question: &str) -> String {
        let (user, assistant) = (Role::User, Role::Assistant);
        format!("{}: {}{}{}:", user.name(), place_images(question, images), user.separator(), assistant.name())
    }

    /// Adds an answer.
    pub fn answer(self, text: impl Into<String>) -> Self {
        self.turn(Role::Assistant, text)
    }

    /// The turns so far.
    pub fn turns(&self) -> &[(Role, String)] {
        &self.turns
    }

    /// The text of the turns so far, all of them complete.
    pub fn text(&self) -> String {
        let mut text = self.opening();
        for (role, turn) in &self.turns {
            text += &format!("{}: {turn}{}", role.name(), role.separator());
        }
        text
    }

    /// The text with the assistant's turn open: the model continues after `ASSISTANT:`, without a space.
    pub fn prompt(&self) -> String {
        self.text() + Role::Assistant.name() + ":"
    }
}
