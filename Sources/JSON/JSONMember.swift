// Looking up one member, which is all that commands and envelopes need.

import Bytes

extension Span where Element == UInt8 {
  /// The value of the member `name` of the object that this JSON text is; nil if there is none or it is no object.
  ///
  /// Reads the whole text once. Of several members of the same name the last one counts. For an object or array the
  /// token is its beginning.
  ///
  /// - Throws: `JSONError` when any part of the text is malformed.
  public func findMember(_ name: StaticString) throws(JSONError) -> JSONToken? {
    try findMember(outer: nil, name: name)
  }

  /// The value of the member `name` of the object that is the member `outer` of the object that this JSON text is.
  ///
  /// - Throws: `JSONError` when any part of the text is malformed.
  public func findMember(_ outer: StaticString, _ name: StaticString) throws(JSONError) -> JSONToken? {
    try findMember(outer: outer, name: name)
  }

  private func findMember(outer: StaticString?, name: StaticString) throws(JSONError) -> JSONToken? {
    var reader = JSONReader()
    var found: JSONToken?
    // The depth of the object whose members count.
    let level = outer == nil ? 1 : 2
    var isInOuter = outer == nil
    guard try reader.next(in: self) == .beginObject else {
      // Not an object, but it has to be well-formed all the same.
      while try reader.next(in: self) != nil {}
      return nil
    }
    while let token = try reader.next(in: self) {
      guard case .key(let key) = token else { continue }
      if let outer, reader.depth == 1 {
        isInOuter = jsonString(key, equals: outer)
        if isInOuter { found = nil }
      } else if isInOuter, reader.depth == level, jsonString(key, equals: name) {
        found = try reader.next(in: self)
      }
    }
    return found
  }
}
