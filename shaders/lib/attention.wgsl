// What the attention kernels share: parameters, places of heads in memory, and which key a query sees.
// Binding 3 is the key mask where there is one.

struct Params {
    batches: u32, queries: u32, heads: u32, kv_heads: u32,
    keys: u32, cache: u32,              // keys that count, and keys that k and v have room for
    width: u32,                         // of a head
    first: u32,                         // batch at which this part starts; statistics and masks are bound whole
    offset: u32,                        // query t sees key s if s <= t + offset
    scale: f32,
    parts: u32, part: u32,              // parts into which the keys are cut, and keys of one
    slice: u32,                         // quads of columns that attention_rows keeps
}
@group(1) @binding(0) var<uniform> p: Params;

//@if MASK
@group(0) @binding(3) var<storage, read> key_mask: array<u32>;     // [B, S]
//@end

// Score of a hidden key: finite, so that a row which sees nothing averages over all keys, as PyTorch's mask does.
const HIDDEN: f32 = -0x1.fffffep+127f;

fn query_row(b: u32, t: u32, h: u32) -> u32 {
    return (b * p.queries + min(t, p.queries - 1u)) * p.heads + h;
}

fn key_row(b: u32, s: u32, h: u32) -> u32 {
    return (b * p.cache + min(s, p.keys - 1u)) * p.kv_heads + h / (p.heads / p.kv_heads);
}

// Whether the mask lets anything see the key.
fn is_open(b: u32, s: u32) -> bool {
    var open = true;
    //@if MASK
    open = key_mask[(p.first + b) * p.cache + min(s, p.keys - 1u)] != 0u;
    //@end
    return open;
}

fn is_visible(open: bool, t: u32, s: u32) -> bool {
    return open && s <= t + p.offset;
}

fn masked(score: f32, open: bool, t: u32, s: u32) -> f32 {
    return select(HIDDEN, score * p.scale, is_visible(open, t, s));
}

// One past the last key that matters to queries up to t. With a mask a row may see nothing: then every key counts.
fn end_of_keys(t: u32) -> u32 {
    var end = min(p.keys, min(t, p.queries - 1u) + p.offset + 1u);
    //@if MASK
    end = p.keys;
    //@end
    return end;
}

// The first query that matters to keys from s on.
fn first_query(s: u32) -> u32 {
    var first = max(s, p.offset) - p.offset;
    //@if MASK
    first = 0u;
    //@end
    return first;
}
