// Functions that behave on every driver, also for large arguments. V is f32 or vec4<f32>, set by the importing file.

// Bounds by comparison, not by clamp, which may turn NaN into a bound: a broken model has to show.
fn safe_exp(x: V) -> V {
    let bounded = select(x, V(-87.0), x < V(-87.0));
    return exp(select(bounded, V(88.0), bounded > V(88.0)));
}

// The larger one; NaN if x is.
fn larger(x: V, y: V) -> V {
    return select(x, y, y > x);
}

fn sigmoid(x: V) -> V {
    return 1.0 / (1.0 + safe_exp(-x));
}

// Near zero 1 - e would cancel: Taylor series there.
fn safe_tanh(x: V) -> V {
    let a = abs(x);
    let e = safe_exp(-2.0 * a);
    let s = min(x * x, V(1.0));
    let near = x * (1.0 + s * (-0.33333333 + s * (0.13333333 + s * (-0.053968254 + s * 0.021869489))));
    return select(sign(x) * (1.0 - e) / (1.0 + e), near, a < V(0.3));
}

// Error function, |error| < 1.5e-7 (Abramowitz and Stegun 7.1.26); near zero, where that cancels, its Taylor series.
fn erf(x: V) -> V {
    let a = abs(x);
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    let s = min(a * a, V(88.0));
    let near = x * (1.1283792 + s * (-0.37612639 + s * (0.11283792 + s * (-0.026866170
               + s * (5.2239776e-3 + s * -8.5483270e-4)))));
    return select(sign(x) * (1.0 - p * safe_exp(-s)), near, a < V(0.5));
}

// Sine and cosine of x for |x| up to about 1e4: Vulkan promises precision in [-pi, pi] only. The multiple of pi/2 is
// taken off in three parts (Cody and Waite), the rest goes into Taylor polynomials on [-pi/4, pi/4].
fn quarter_turns(x: V) -> V {
    return round(x * 0.63661977);
}

fn rest_of_turn(x: V, n: V) -> V {
    return ((x - n * 1.5703125) - n * 4.837512969970703e-4) - n * 7.549789948768648e-8;
}

fn sin_poly(r: V) -> V {
    let s = r * r;
    return r * (1.0 + s * (-0.16666667 + s * (8.333333e-3 + s * (-1.984127e-4 + s * 2.7557319e-6))));
}

fn cos_poly(r: V) -> V {
    let s = r * r;
    return 1.0 + s * (-0.5 + s * (4.1666667e-2 + s * (-1.3888889e-3 + s * 2.4801587e-5)));
}

fn sine_from(r: V, quarter: V) -> V {
    let q = quarter - 4.0 * floor(quarter * 0.25);
    let odd = q - 2.0 * floor(q * 0.5);
    let value = select(sin_poly(r), cos_poly(r), odd > V(0.5));
    return select(value, -value, q > V(1.5));
}

fn safe_sin(x: V) -> V {
    let n = quarter_turns(x);
    return sine_from(rest_of_turn(x, n), n);
}

fn safe_cos(x: V) -> V {
    let n = quarter_turns(x);
    return sine_from(rest_of_turn(x, n), n + 1.0);
}
