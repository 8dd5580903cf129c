//! What a picture of this world shows.

use serde::{Deserialize, Serialize};

/// An attribute with a word for each of its values.
macro_rules! attribute {
    ($(#[$doc:meta])* $name:ident { $($(#[$what:meta])* $value:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$what])* $value),* }

        impl $name {
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$value),*];

            /// The word for it.
            pub fn word(self) -> &'static str {
                match self { $(Self::$value => $word),* }
            }

            /// What a word stands for.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }
    };
}

attribute! {
    /// The outline of an object.
    Shape {
        /// Round.
        Circle = "circle",
        /// With sides along the axes.
        Square = "square",
        /// Pointing up.
        Triangle = "triangle",
        /// A square on its corner.
        Diamond = "diamond",
        /// With five points.
        Star = "star",
        /// With arms along the axes.
        Cross = "cross",
    }
}

attribute! {
    /// The colour of an object.
    Color {
        /// 220, 40, 40.
        Red = "red",
        /// 40, 170, 60.
        Green = "green",
        /// 50, 80, 220.
        Blue = "blue",
        /// 240, 220, 50.
        Yellow = "yellow",
        /// 150, 50, 180.
        Purple = "purple",
        /// 245, 140, 30.
        Orange = "orange",
        /// 250, 250, 250.
        White = "white",
        /// 15, 15, 15.
        Black = "black",
    }
}

attribute! {
    /// How large an object is. `Medium` exists in pictures of 64 pixels only.
    Size {
        /// A radius of about 5 of 32.
        Small = "small",
        /// In between.
        Medium = "medium",
        /// A radius of about 6.75 of 32.
        Large = "large",
    }
}

attribute! {
    /// How the inside of an object looks.
    Texture {
        /// One colour.
        Plain = "plain",
        /// Level bands of the colour and of its shade.
        Striped = "striped",
        /// The colour with dots of its shade.
        Dotted = "dotted",
    }
}

attribute! {
    /// The background: a grey on which white and black show.
    Ground {
        /// 190, 190, 195.
        Light = "light",
        /// 78, 78, 84.
        Dark = "dark",
    }
}

attribute! {
    /// A ninth of the picture.
    Place {
        /// Upper left.
        TopLeft = "top-left",
        /// Upper middle.
        Top = "top",
        /// Upper right.
        TopRight = "top-right",
        /// Middle left.
        Left = "left",
        /// The centre.
        Middle = "middle",
        /// Middle right.
        Right = "right",
        /// Lower left.
        BottomLeft = "bottom-left",
        /// Lower middle.
        Bottom = "bottom",
        /// Lower right.
        BottomRight = "bottom-right",
    }
}

attribute! {
    /// Where one object is as seen from another.
    Relation {
        /// Left of it.
        LeftOf = "left of",
        /// Right of it.
        RightOf = "right of",
        /// Above it.
        Above = "above",
        /// Below it.
        Below = "below",
    }
}

impl Color {
    /// Its red, green and blue.
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Color::Red => [220, 40, 40],
            Color::Green => [40, 170, 60],
            Color::Blue => [50, 80, 220],
            Color::Yellow => [240, 220, 50],
            Color::Purple => [150, 50, 180],
            Color::Orange => [245, 140, 30],
            Color::White => [250, 250, 250],
            Color::Black => [15, 15, 15],
        }
    }

    /// What stripes and dots on it have: a darker tone; olive on black and pink on white, since their greys would
    /// vanish in a background.
    pub fn shade(self) -> [u8; 3] {
        match self {
            Color::Black => [95, 90, 20],
            Color::White => [250, 150, 190],
            other => other.rgb().map(|part| (u16::from(part) * 11 / 20) as u8),
        }
    }
}

impl Ground {
    /// Its red, green and blue.
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Ground::Light => [190, 190, 195],
            Ground::Dark => [78, 78, 84],
        }
    }

    /// The other one.
    pub fn other(self) -> Ground {
        if self == Ground::Light { Ground::Dark } else { Ground::Light }
    }
}

impl Place {
    /// Column and row, each 0 to 2.
    pub fn cell(self) -> (usize, usize) {
        (self as usize % 3, self as usize / 3)
    }

    /// The ninth in which a point lies; the middle ones are four of 16 wide, since two objects side by side may be a little
    /// above and below the middle. `x` and `y` are parts of the picture's side.
    pub fn of(x: f32, y: f32) -> Place {
        let third = |at: f32| usize::from(at >= 0.375) + usize::from(at > 0.625);
        Place::ALL[third(y) * 3 + third(x)]
    }

    /// Whether a point lies in it or at most `slack` beside it.
    pub fn holds(self, x: f32, y: f32, slack: f32) -> bool {
        let within = |cell, at: f32| match cell {
            0 => at < 0.375 + slack,
            1 => at >= 0.375 - slack && at <= 0.625 + slack,
            _ => at > 0.625 - slack,
        };
        let (column, row) = self.cell();
        within(column, x) && within(row, y)
    }
}

impl Relation {
    /// As seen from the other object.
    pub fn inverse(self) -> Relation {
        match self {
            Relation::LeftOf => Relation::RightOf,
            Relation::RightOf => Relation::LeftOf,
            Relation::Above => Relation::Below,
            Relation::Below => Relation::Above,
        }
    }

    /// Whether it holds for an object at `a` as seen from one at `b`, in parts of the picture's side: a quarter of it apart.
    pub fn holds(self, a: [f32; 2], b: [f32; 2]) -> bool {
        let apart = match self {
            Relation::LeftOf => b[0] - a[0],
            Relation::RightOf => a[0] - b[0],
            Relation::Above => b[1] - a[1],
            Relation::Below => a[1] - b[1],
        };
        apart >= 0.25
    }
}

/// A thing in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Object {
    /// Its outline.
    pub shape: Shape,
    /// Its colour; that of the upper left quarter, if it has a pattern.
    pub color: Color,
    /// Its size.
    pub size: Size,
    /// What is on it.
    pub texture: Texture,
    /// The colours of its quarters, row by row: the pattern of a story's subject, which has no name.
    pub pattern: Option<[Color; 4]>,
    /// Its centre, in quarters of a pixel from the picture's upper left corner.
    pub center: [i32; 2],
    /// Its radius, in quarters of a pixel.
    pub radius: i32,
    /// How far its colours are off the palette.
    pub jitter: [i8; 3],
}

/// A picture's contents, from which it is drawn exactly.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scene {
    /// Pixels of a side: 32 or 64.
    pub side: usize,
    /// The background.
    pub ground: Ground,
    /// How far the background is off its grey.
    pub jitter: [i8; 3],
    /// The objects; colours differ and shapes differ.
    pub objects: Vec<Object>,
}

impl Scene {
    /// The same with its objects from left to right and from top to bottom: an order that can be seen.
    pub fn in_reading_order(&self) -> Scene {
        let mut scene = self.clone();
        scene.objects.sort_by_key(|object| object.center[0] + object.center[1]);
        scene
    }

    /// The centre of object `n` in parts of the picture's side.
    pub fn position(&self, n: usize) -> [f32; 2] {
        self.objects[n].center.map(|at| at as f32 / (4 * self.side) as f32)
    }

    /// The ninth in which object `n` lies.
    pub fn place(&self, n: usize) -> Place {
        let [x, y] = self.position(n);
        Place::of(x, y)
    }

    /// Where object `a` is as seen from `b`; of two objects that lie across from each other the horizontal relation.
    pub fn relation(&self, a: usize, b: usize) -> Option<Relation> {
        Relation::ALL.iter().copied().find(|relation| relation.holds(self.position(a), self.position(b)))
    }
}
