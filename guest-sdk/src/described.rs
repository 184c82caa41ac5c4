//! The answer to `describe` in the memory layout of the canonical ABI. All of it is words of 32 bits: strings and lists are
//! (pointer, length). It is leaked: `describe` is called once, and its instance is thrown away.

use crate::Descriptor;

pub(crate) fn write(descriptor: Descriptor) -> *mut u8 {
    let d = descriptor.leak();
    let mut words = Words::default();
    words.text(&d.name).text(&d.version);
    words.list(&d.inputs, |words, input| {
        words
            .text(&input.name)
            .list(&input.columns, |words, column| {
                words.text(column);
            })
            .options(&[]);
    });
    words.list(&d.outputs, |words, output| {
        words.text(&output.name).options(&[]);
    });
    words.list(&d.states, |words, state| {
        words.text(&state.name).text(state.kind).word(state.version).options(&state.options);
    });
    words.list(&d.metrics, |words, metric| {
        words.text(&metric.name).text(metric.kind).options(&[]);
    });
    words.list(&d.callbacks, |words, callback| {
        words.text(callback);
    });
    words.word(d.config_schema.is_some().into()).text(d.config_schema.as_deref().unwrap_or_default());
    words.options(&d.options);
    words.leak()
}

impl Descriptor {
    fn leak(self) -> &'static Descriptor {
        Box::leak(Box::new(self))
    }
}

#[derive(Default)]
struct Words(Vec<u32>);

impl Words {
    fn word(&mut self, word: u32) -> &mut Words {
        self.0.push(word);
        self
    }

    fn text(&mut self, text: &'static str) -> &mut Words {
        self.word(text.as_ptr() as u32).word(text.len() as u32)
    }

    fn list<T>(&mut self, items: &'static [T], write: impl Fn(&mut Words, &'static T)) -> &mut Words {
        let mut inner = Words::default();
        items.iter().for_each(|item| write(&mut inner, item));
        self.word(inner.leak() as u32).word(items.len() as u32)
    }

    fn options(&mut self, options: &'static [(String, String)]) -> &mut Words {
        self.list(options, |words, (name, value)| {
            words.text(name).text(value);
        })
    }

    fn leak(self) -> *mut u8 {
        self.0.leak().as_mut_ptr().cast()
    }
}
