/// The larger of two values, and NaN if one of them is: a rank that computes nonsense must not be
/// hidden by the others. `max` and `Double.maximum` prefer the number, or depend on the order.
func largest(_ a: Double, _ b: Double) -> Double { a > b || a.isNaN ? a : b }
