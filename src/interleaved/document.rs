//! Text with pictures as files: Markdown beside its pictures, and a page that contains them.

use crate::image::{RgbImage, base64, encode_png};
use crate::{Error, Result};
use std::fmt::Write;

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Words.
    Text(String),
    /// A picture.
    Picture(RgbImage),
}

/// Words and pictures in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// The pieces.
    pub parts: Vec<Part>,
}

impl Document {
    /// The pictures.
    pub fn pictures(&self) -> impl Iterator<Item = &RgbImage> {
        self.parts.iter().filter_map(|part| match part {
            Part::Picture(picture) => Some(picture),
            Part::Text(_) => None,
        })
    }

    /// Markdown whose pictures are the files that `file` names by their number, from 1 on.
    pub fn to_markdown(&self, title: &str, file: impl Fn(usize) -> String) -> String {
        let mut text = if title.is_empty() { String::new() } else { format!("# {title}\n") };
        let mut number = 0;
        for part in &self.parts {
            let _ = match part {
                Part::Text(words) => writeln!(text, "\n{}", words.trim()),
                Part::Picture(_) => {
                    number += 1;
                    writeln!(text, "\n![]({})", file(number))
                }
            }; // writing to a String cannot fail
        }
        text
    }

    /// One HTML page with the pictures in it.
    pub fn to_html(&self, title: &str) -> Result<String> {
        let title = escaped(title);
        let mut page = format!(
            "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>body {{ max-width: 40em; \
             margin: 2em auto; padding: 0 1em; font: 1.1em/1.5 serif }} img {{ max-width: 100% }} p {{ white-space: \
             pre-line }}</style></head>\n<body><h1>{title}</h1>\n"
        );
        for part in &self.parts {
            let _ = match part {
                Part::Text(words) => writeln!(page, "<p>{}</p>", escaped(words.trim())),
                Part::Picture(picture) => {
                    let png = base64(&encode_png(picture, &[])?);
                    writeln!(page, "<p><img alt=\"\" src=\"data:image/png;base64,{png}\"></p>")
                }
            }; // writing to a String cannot fail
        }
        page += "</body></html>\n";
        Ok(page)
    }

    /// Reads Markdown: lines that are a picture, `![…](file)`, become pictures, which `load` reads; everything else is text.
    /// A headline `# …` in front is left out; it is the topic.
    pub fn from_markdown(text: &str, mut load: impl FnMut(&str) -> Result<RgbImage>) -> Result<Document> {
        let (mut document, mut words) = (Document::default(), Vec::new());
        for line in text.lines().skip_while(|line| line.trim().is_empty() || line.starts_with("# ")) {
            match picture_of(line)? {
                Some(file) => {
                    document.add_text(&mut words);
                    document.parts.push(Part::Picture(load(file)?));
                }
                None => words.push(line),
            }
        }
        document.add_text(&mut words);
        Ok(document)
    }

    fn add_text(&mut self, words: &mut Vec<&str>) {
        let text = std::mem::take(words).join("\n");
        if !text.trim().is_empty() {
            self.parts.push(Part::Text(text.trim().to_string()));
        }
    }
}

/// The file of a line `![…](file)`.
fn picture_of(line: &str) -> Result<Option<&str>> {
    let Some(rest) = line.trim().strip_prefix("![") else { return Ok(None) };
    let inner = rest.strip_suffix(')').and_then(|rest| rest.split_once("](")).map(|(_, file)| file);
    match inner {
        Some(file) if !file.is_empty() => Ok(Some(file)),
        _ => Err(Error::Input(format!("the line {line:?} begins as a picture, but is none"))),
    }
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(grey: u8) -> RgbImage {
        RgbImage::new(1, 1, vec![grey; 3]).unwrap()
    }

    #[test]
    fn markdown_comes_back() {
        let text = |text: &str| Part::Text(text.to_string());
        let document =
            Document { parts: vec![text("Snow."), Part::Picture(dot(7)), Part::Picture(dot(9)), text("A\n\nb")] };
        let markdown = document.to_markdown("Winter", |n| format!("{n}.png"));
        assert_eq!(markdown, "# Winter\n\nSnow.\n\n![](1.png)\n\n![](2.png)\n\nA\n\nb\n");
        let load = |file: &str| Ok(dot(if file == "1.png" { 7 } else { 9 }));
        assert_eq!(Document::from_markdown(&markdown, load).unwrap(), document);
        assert_eq!(document.pictures().count(), 2);
        let broken = Document::from_markdown("![no picture", |_| Ok(dot(0)));
        assert!(broken.unwrap_err().to_string().contains("![no picture"));
    }

    #[test]
    fn a_page_contains_its_pictures_and_no_foreign_markup() {
        let document = Document { parts: vec![Part::Text("a <b> & c".into()), Part::Picture(dot(1))] };
        let page = document.to_html("<script>").unwrap();
        assert!(page.contains("a &lt;b&gt; &amp; c") && !page.contains("<script>"));
        assert!(page.contains("data:image/png;base64,iVBORw0KGgo"));
    }
}
