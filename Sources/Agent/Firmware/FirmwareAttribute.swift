// The attribute `mgmt.firmware`: how the server reads and changes what is known about the firmware (protocol, 4.12).

import Bytes
import JSON

extension FirmwareJob {
  /// The members of the attribute, in the order in which they are told.
  private static var members: WordList { WordList("version|name|uri|verifier|state|updateStatus|updatedDateTime") }
  private static var memberCount: Int { 7 }
  /// Those that the server gives, which come first.
  private static var textCount: Int { 4 }
  private static var statePlace: Int { 4 }
  private static var statusPlace: Int { 5 }

  /// The text that is the member at `place`.
  private static func text(at place: Int) -> Text { Text(rawValue: place + Text.version.rawValue) ?? .version }

  /// Which of the attributes is at `name` of `text`: 0 all of it, or the place of a member and 1; nil for none of them.
  private static func attribute(_ name: Range<Int>, in text: Span<UInt8>) -> Int? {
    if text.jsonString(name, equals: "mgmt.firmware") { return 0 }
    guard text.extracting(name).starts(with: "mgmt.firmware.") else { return nil }
    return members.index(of: text.extracting((name.lowerBound + 14)..<name.upperBound)).map { $0 + 1 }
  }

  // MARK: Telling

  /// Appends the value of the attribute whose name is at `name` of `text`, still escaped.
  ///
  /// - Returns: false when there is none; nothing was appended then.
  func appendValue(of name: Range<Int>, in text: Span<UInt8>, to payload: inout ByteBuffer) -> Bool {
    guard let attribute = FirmwareJob.attribute(name, in: text) else { return false }
    if attribute == 0 {
      appendMembers(0..<FirmwareJob.memberCount, to: &payload)
    } else {
      appendMember(attribute - 1, to: &payload)
    }
    return true
  }

  /// Appends fields with what the server wants to be told of: `{"field":"mgmt.firmware","value":{…}}`.
  func appendObserved(to payload: inout ByteBuffer) {
    let start = payload.count
    for attribute in 0..<3 where observed & 1 << UInt8(attribute) != 0 {
      if payload.count > start { payload.append(UInt8(ascii: ",")) }
      payload.append("{\"field\":\"mgmt.firmware")
      if attribute > 0 {
        payload.append(UInt8(ascii: "."))
        payload.append(FirmwareJob.members.word(FirmwareJob.statePlace + attribute - 1))
      }
      payload.append("\",\"value\":")
      if attribute == 0 {
        appendMembers(FirmwareJob.statePlace..<(FirmwareJob.statusPlace + 1), to: &payload)
      } else {
        appendMember(FirmwareJob.statePlace + attribute - 1, to: &payload)
      }
      payload.append(UInt8(ascii: "}"))
    }
  }

  @inline(never)  // small code
  private func appendMembers(_ places: Range<Int>, to payload: inout ByteBuffer) {
    for place in places {
      payload.append(place == places.lowerBound ? "{\"" : ",\"")
      payload.append(FirmwareJob.members.word(place))
      payload.append("\":")
      appendMember(place, to: &payload)
    }
    payload.append(UInt8(ascii: "}"))
  }

  @inline(never)  // small code
  private func appendMember(_ place: Int, to payload: inout ByteBuffer) {
    switch place {
    case FirmwareJob.statePlace: payload.append(decimal: Int(stage.state))
    case FirmwareJob.statusPlace: payload.append(decimal: Int(status.rawValue))
    case 0..<FirmwareJob.textCount: payload.appendJSON(string: text(FirmwareJob.text(at: place)))
    // The server alone knows when it was told.
    default: payload.append("\"\"")
    }
  }

  /// Which bit of `observed` stands for the attribute at `name`, 0 for none: only numbers change by themselves.
  static func observableBit(of name: Range<Int>, in text: Span<UInt8>) -> UInt8 {
    switch attribute(name, in: text) {
    case 0: 1
    case statePlace + 1: 2
    case statusPlace + 1: 4
    default: 0
    }
  }

  // MARK: Being changed

  @inline(never)  // small code
  private static func member(_ place: Int, of object: Span<UInt8>) -> JSONToken? {
    do throws(JSONError) {
      switch place {
      case 0: return try object.findMember("version")
      case 1: return try object.findMember("name")
      // So it is called in the interfaces of the vendor's libraries.
      case 2:
        if let uri = try object.findMember("uri") { return uri }
        return try object.findMember("url")
      default: return try object.findMember("verifier")
      }
    } catch {
      return nil
    }
  }

  /// What is wrong with the value at `value`; nil where the record may become what it says.
  static func fault(of value: Range<Int>?, in text: Span<UInt8>) -> StaticString? {
    guard let value, text[value.lowerBound] == UInt8(ascii: "{") else { return "mgmt.firmware is not an object" }
    let object = text.extracting(value)
    for place in 0..<textCount {
      switch member(place, of: object) {
      case nil, .null: continue
      case .string(let range) where object.unescapedCount(of: range) <= bytesMax(self.text(at: place)): continue
      case .string: return place == 2 ? "the uri is too long" : "a text is too long"
      default: return "version, name, uri and verifier are texts"
      }
    }
    return nil
  }

  /// Replaces the record by what `object` has, which is without a fault; `scratch` is emptied.
  ///
  /// What is given and the same leaves an image that is there as it is: to have it installed, a server sends its record
  /// once more, some of it perhaps, and with a state of 0 (protocol, section 4.14).
  ///
  /// - Returns: whether anything has changed.
  @inline(never)  // small code
  mutating func replace(by object: Span<UInt8>, _ scratch: inout ByteBuffer) -> Bool {
    let isThere = stage == .downloaded
    var isOther = !isThere && status != .success
    for place in 0..<FirmwareJob.textCount {
      FirmwareJob.read(place, of: object, into: &scratch)
      let kind = FirmwareJob.text(at: place)
      if isThere, scratch.isEmpty || kind == .name { continue }
      isOther = isOther || !scratch.span.equals(text(kind))
    }
    guard isOther else { return false }
    for place in 0..<FirmwareJob.textCount {
      FirmwareJob.read(place, of: object, into: &scratch)
      set(FirmwareJob.text(at: place), scratch.span)
    }
    stage = .idle
    status = .success
    set(.checkpoint, Span())
    return true
  }

  /// Puts the text of a member into `buffer`.
  @inline(never)  // small code
  private static func read(_ place: Int, of object: Span<UInt8>, into buffer: inout ByteBuffer) {
    buffer.removeAll()
    if case .string(let range) = member(place, of: object) { buffer.appendUnescaped(range, of: object) }
  }
}
