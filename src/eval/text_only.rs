//! What can be known from the words alone.

use super::benchmark::Model;
use super::tasks::Request;
use crate::Result;
use crate::image::RgbImage;

/// A model that is never shown a picture: they are left out of what it is asked, as a diffusion model that reads only text has to
/// do without them.
pub struct TextOnly<M>(pub M);

fn without_pictures(requests: &[&Request]) -> Vec<Request> {
    let text =
        |request: &Request| request.text.replace("<image>", " ").split_whitespace().collect::<Vec<_>>().join(" ");
    requests.iter().map(|request| Request { text: text(request), images: Vec::new() }).collect()
}

impl<M: Model> Model for TextOnly<M> {
    async fn draw(&mut self, requests: &[&Request]) -> Result<Vec<RgbImage>> {
        self.0.draw(&without_pictures(requests).iter().collect::<Vec<_>>()).await
    }

    async fn answer(&mut self, requests: &[&Request]) -> Result<Vec<String>> {
        self.0.answer(&without_pictures(requests).iter().collect::<Vec<_>>()).await
    }

    fn batch(&self) -> usize {
        self.0.batch()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_and_their_places_are_gone() {
        let picture = RgbImage::new(1, 1, vec![0; 3]).unwrap();
        let request = Request { text: "a red circle<image>make it blue".into(), images: vec![picture] };
        let [bare] = without_pictures(&[&request]).try_into().unwrap();
        assert_eq!(bare, Request { text: "a red circle make it blue".into(), images: vec![] });
    }
}
