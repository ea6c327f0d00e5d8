// Messages of the device-management protocol: {"d":{…},"reqId":"…"} asks, {"rc":200,"reqId":"…"} answers.

import Bytes
import JSON

/// What the server asks for, by its topic.
public enum ManagementRequest: UInt8, Sendable, BitwiseCopyable {
  /// Attributes of the device are to be changed.
  case update
  /// The values of attributes, and notice of their changes.
  case observe
  /// No more notice.
  case cancel
  /// The machine is to restart.
  case reboot
  /// It is to forget what it has learned.
  case factoryReset
  /// It is to fetch the image that it was told of.
  case downloadFirmware
  /// It is to install it.
  case installFirmware
  /// Something of the device's own is to be done.
  case customAction
  /// Something that this agent does not do.
  case other

  /// Says what is asked for; `topic` is what stands behind `iotdm-1/`.
  init(topic: Span<UInt8>) {
    if topic.starts(with: "mgmt/custom/") {
      self = .customAction
      return
    }
    let words = WordList(
      """
      device/update|observe|cancel|mgmt/initiate/device/reboot|mgmt/initiate/device/factory_reset|\
      mgmt/initiate/firmware/download|mgmt/initiate/firmware/update
      """)
    self = words.index(of: topic).flatMap { ManagementRequest(rawValue: UInt8($0)) } ?? .other
  }
}

/// Codes of answers.
public enum ManagementCode {
  /// Done.
  public static var ok: Int { 200 }
  /// It will be done now.
  public static var accepted: Int { 202 }
  /// Changed as wanted.
  public static var changed: Int { 204 }
  /// Malformed.
  public static var badRequest: Int { 400 }
  /// It was asked to know an action that it does not know.
  public static var forbidden: Int { 403 }
  /// There is no such attribute; the device is not registered.
  public static var notFound: Int { 404 }
  /// Somebody else changes the same; later.
  public static var conflict: Int { 409 }
  /// It cannot be done.
  public static var failed: Int { 500 }
  /// It is not supported.
  public static var notImplemented: Int { 501 }
}

/// A message of the server, taken apart; ranges are of its text.
public struct ManagementMessage: Sendable {
  /// The value of `reqId` as it stands there, quotes included: an answer has the very same. Nil without one.
  public private(set) var requestIdentifier: Range<Int>?
  /// The value of `rc`.
  public private(set) var returnCode: Int?
  /// Whether it is no JSON object. What stood before the fault has been read.
  public private(set) var isMalformed = false
  /// The object `d`.
  public private(set) var data: Range<Int>?
  /// Whether `d` is no object, or its fields are no list.
  public private(set) var isMisshapen = false
  /// Stands in front of the first of `d.fields`; nil without such a list.
  private var fields: JSONReader?

  /// Reads all of `text`. Members of other names are ignored, and of several of one name the last one counts.
  public init(parsing text: Span<UInt8>) {
    var reader = JSONReader()
    do throws(JSONError) {
      if try reader.next(in: text) != .beginObject { isMalformed = true }
      while let token = try reader.next(in: text) {
        guard case .key(let key) = token, reader.depth == 1, !isMalformed else { continue }
        try readMember(key, in: text, &reader)
      }
    } catch {
      isMalformed = true
    }
  }

  private mutating func readMember(_ key: Range<Int>, in text: Span<UInt8>, _ reader: inout JSONReader)
    throws(JSONError)
  {
    if text.jsonString(key, equals: "reqId") {
      let value = try reader.skipValue(in: text)
      let first = text[value.lowerBound]
      // Numbers come from clients that forget the quotes.
      let isIdentifier = first == UInt8(ascii: "\"") || first == UInt8(ascii: "-") || first.isDigit
      requestIdentifier = isIdentifier ? value : nil
    } else if text.jsonString(key, equals: "rc") {
      let value = try reader.skipValue(in: text)
      returnCode = parseUnsigned(text.extracting(value)).flatMap { Int(exactly: $0) }
    } else if text.jsonString(key, equals: "d") {
      try readData(in: text, &reader)
    }
  }

  private mutating func readData(in text: Span<UInt8>, _ reader: inout JSONReader) throws(JSONError) {
    fields = nil
    guard try reader.next(in: text) == .beginObject else {
      isMisshapen = true
      return
    }
    let start = reader.position - 1
    // Until the object that has just begun ends.
    while reader.depth > 1, let token = try reader.next(in: text) {
      guard case .key(let key) = token, reader.depth == 2 else { continue }
      // Cancel had `data` in 2016.
      guard text.jsonString(key, equals: "fields") || text.jsonString(key, equals: "data") else { continue }
      if try reader.next(in: text) == .beginArray { fields = reader } else { isMisshapen = true }
    }
    data = start..<reader.position
  }

  /// Whether it has a list of fields.
  public var hasFields: Bool { fields != nil }

  /// The next of the fields, of the text that was parsed.
  @inline(never)  // small code: this is called from several places
  public mutating func nextField(in text: Span<UInt8>) -> ManagementField {
    guard var reader = fields else { return .end }
    defer { fields = reader }
    do throws(JSONError) {
      switch try reader.next(in: text) {
      case .endArray: return .end
      // So it was until 2017.
      case .string(let name): return .field(name: name, value: nil)
      case .beginObject: return try nextObject(in: text, &reader)
      default: return .wrong
      }
    } catch {
      return .wrong
    }
  }

  private func nextObject(in text: Span<UInt8>, _ reader: inout JSONReader) throws(JSONError) -> ManagementField {
    var name: Range<Int>?
    var value: Range<Int>?
    while let token = try reader.next(in: text), token != .endObject {
      guard case .key(let key) = token else { continue }
      let found = try reader.skipValue(in: text)
      if text.jsonString(key, equals: "value") {
        value = found
      } else if text.jsonString(key, equals: "field") {
        name = text[found.lowerBound] == UInt8(ascii: "\"") ? (found.lowerBound + 1)..<(found.upperBound - 1) : nil
      }
    }
    return name.map { .field(name: $0, value: value) } ?? .wrong
  }
}

/// One of the fields of a message.
public enum ManagementField: Equatable, Sendable {
  /// Its name, still escaped and without quotes, and its value as it stands there.
  case field(name: Range<Int>, value: Range<Int>?)
  /// There are no more.
  case end
  /// It has no name.
  case wrong
}

extension ByteBuffer {
  /// Begins an answer: `{"rc":202,"message":"…","reqId":"…"`, without what would close it.
  ///
  /// - Parameter identifier: the request's, as it stands there.
  public mutating func beginManagementAnswer(_ code: Int, to identifier: Span<UInt8>) {
    removeAll()
    append("{\"rc\":")
    append(decimal: code)
    append(",\"reqId\":")
    append(identifier)
  }
}
