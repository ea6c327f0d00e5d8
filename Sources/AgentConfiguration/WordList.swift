// The search for the word that was meant.

import Bytes

extension WordList {
  /// The word that comes nearest to `word`, as a range of `bytes`.
  @inline(never)
  public func nearest(to word: Span<UInt8>) -> Range<Int>? {
    var nearest = Nearest()
    var found: Range<Int>?
    var start = 0
    while let range = range(from: start) {
      if nearest.consider(bytes.extracting(range), for: word) { found = range }
      start = range.upperBound + 1
    }
    return found
  }
}

/// Remembers how near the nearest candidate so far came.
struct Nearest {
  private var distance = Int.max

  /// Whether `candidate` is nearer to `word` than any before it, and near enough to have been meant: a third of the
  /// word may differ, at least one character and at most three.
  @inline(never)
  mutating func consider(_ candidate: Span<UInt8>, for word: Span<UInt8>) -> Bool {
    let limit = min(max(word.count / 3, 1), 3)
    guard let found = editDistance(word, candidate), found <= limit, found < distance else { return false }
    distance = found
    return true
  }
}

/// A row of the table of distances: one more than the longest words that are compared have bytes.
private typealias DistanceRow = InlineArray<41, UInt8>

/// How many characters must be inserted, removed, replaced or swapped with their neighbour to make `source` of `target`
/// (the optimal string alignment distance), whatever their case. Nil for long words.
func editDistance(_ source: Span<UInt8>, _ target: Span<UInt8>) -> Int? {
  guard source.count < DistanceRow.count, target.count < DistanceRow.count else { return nil }
  // Three rows of the table suffice: a swap looks back two.
  var older = DistanceRow(repeating: 0)
  var last = DistanceRow { UInt8($0) }
  var row = last
  for i in 0..<source.count {
    row[0] = UInt8(i + 1)
    for j in 0..<target.count {
      let isSame = source[i].lowercased == target[j].lowercased
      var cost = min(min(last[j + 1], row[j]) + 1, last[j] + (isSame ? 0 : 1))
      if i > 0, j > 0, source[i].lowercased == target[j - 1].lowercased,
        source[i - 1].lowercased == target[j].lowercased
      {
        cost = min(cost, older[j - 1] + 1)
      }
      row[j + 1] = cost
    }
    older = last
    last = row
  }
  return Int(last[target.count])
}
