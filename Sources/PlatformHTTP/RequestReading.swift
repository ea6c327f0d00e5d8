// What requests bring: bodies, JSON and query parameters, each with its bound.

import Bytes
import Foundation
import HTTPTypes
import Hummingbird
import JSON
import NIOCore
import PlatformProtocol
import PlatformServer
import PlatformService

extension Request {
  /// The body, of at most `max` bytes.
  ///
  /// - Throws: `tooLarge`.
  func bytes(max: Int) async throws -> [UInt8] {
    let tooLarge = ServiceError(.tooLarge, "The body has at most \(max) bytes.")
    if let length = headers[.contentLength].flatMap(Int.init), length > max { throw tooLarge }
    var bytes: [UInt8] = []
    for try await buffer in body {
      guard bytes.count + buffer.readableBytes <= max else { throw tooLarge }
      bytes.append(contentsOf: buffer.readableBytesView)
    }
    return bytes
  }

  /// The body as JSON.
  ///
  /// - Throws: `unsupportedMediaType`, `tooLarge`, `invalid`.
  func json(max: Int = ServerLimits.bodyBytesMax) async throws -> JSONValue {
    try checkMediaType()
    return try Request.json(try await bytes(max: max))
  }

  private static func json(_ bytes: [UInt8]) throws(ServiceError) -> JSONValue {
    do throws(JSONError) {
      return try JSONValue(bytes.span)
    } catch {
      throw ServiceError(.invalid, "The body is not JSON: \(error.kind) at byte \(error.offset).")
    }
  }

  /// The body as a JSON object.
  func object() async throws -> JSONValue { try Request.object(try await json()) }

  /// The body as a JSON object; an empty one where there is no body.
  func optionalObject() async throws -> JSONValue {
    let bytes = try await bytes(max: ServerLimits.bodyBytesMax)
    if bytes.isEmpty { return .object([]) }
    try checkMediaType()
    return try Request.object(try Request.json(bytes))
  }

  private static func object(_ value: JSONValue) throws(ServiceError) -> JSONValue {
    guard value.members != nil else { throw ServiceError(.invalid, "The body is a JSON object.") }
    return value
  }

  private func checkMediaType() throws(ServiceError) {
    guard let type = mediaType, type != "application/json" else { return }
    throw ServiceError(.unsupportedMediaType, "The body is application/json, not \(type).")
  }

  /// The content type without its parameters.
  var mediaType: String? {
    headers[.contentType].map {
      $0.prefix { $0 != ";" }.trimmingCharacters(in: .whitespaces).lowercased()
    }
  }

  /// A parameter of the query; nil if it is not there.
  func parameter(_ name: String) -> String? { uri.queryParameters.get(name) }

  /// A parameter of the query that is the name of something; nil if it is not there.
  func name(_ parameter: String) throws(ServiceError) -> String? {
    guard let name = self.parameter(parameter) else { return nil }
    guard isValidName(name) else {
      throw ServiceError(.invalid, "'\(parameter)' is 1 to 36 letters, digits, '-', '_' and '.'.")
    }
    return name
  }
}

/// Reads members of a JSON object, and says what it expected.
struct MemberReader {
  let value: JSONValue

  func text(_ name: String) throws(ServiceError) -> String {
    guard let text = try optionalText(name) else { throw ServiceError(.invalid, "'\(name)' is missing: a text.") }
    return text
  }

  func optionalText(_ name: String) throws(ServiceError) -> String? {
    guard let member = value[name], member != .null else { return nil }
    guard let text = member.string else { throw ServiceError(.invalid, "'\(name)' is a text.") }
    return text
  }

  func optionalInteger(_ name: String) throws(ServiceError) -> Int64? {
    guard let member = value[name], member != .null else { return nil }
    // 1.0 is an integer as well, to JSON.
    if let number = member.integer { return number }
    guard case .number(let text) = member, let value = Double(text), let number = Int64(exactly: value) else {
      throw ServiceError(.invalid, "'\(name)' is an integer.")
    }
    return number
  }

  func optionalObject(_ name: String) throws(ServiceError) -> JSONValue? {
    guard let member = value[name], member != .null else { return nil }
    guard member.members != nil else { throw ServiceError(.invalid, "'\(name)' is an object.") }
    return member
  }

  func array(_ name: String) throws(ServiceError) -> [JSONValue] {
    guard let array = value[name]?.array else { throw ServiceError(.invalid, "'\(name)' is an array.") }
    return array
  }

  /// What is told of a device, on top of `old`.
  func deviceInfo(_ old: DeviceInfo = DeviceInfo()) throws(ServiceError) -> DeviceInfo? {
    guard let member = try optionalObject("deviceInfo") else { return nil }
    guard let info = old.merging(member) else {
      let names = DeviceInfo.names.map(\.key).joined(separator: ", ")
      throw ServiceError(
        .invalid,
        "'deviceInfo' is an object of texts of at most \(ServiceLimits.deviceInfoBytesMax) bytes each: \(names).")
    }
    return info
  }

  func location() throws(ServiceError) -> DeviceLocation? {
    guard let member = try optionalObject("location") else { return nil }
    return try readLocation(member)
  }

  func device() throws(ServiceError) -> DeviceKey {
    DeviceKey(typeID: try text("typeId"), deviceID: try text("deviceId"))
  }
}

extension MemberReader {
  /// A gateway's resource group: an array of devices for the Standard role, null for the Privileged one; nil if nothing
  /// is said about it.
  func resourceGroup() throws(ServiceError) -> Set<DeviceKey>?? {
    guard let member = value["resourceGroup"] else { return nil }
    guard member != .null else { return .some(nil) }
    var group: Set<DeviceKey> = []
    for entry in try array("resourceGroup") { group.insert(try MemberReader(value: entry).device()) }
    return group
  }
}

func readLocation(_ value: JSONValue) throws(ServiceError) -> DeviceLocation {
  guard let location = DeviceLocation(value, now: Moment.now.wall) else {
    throw ServiceError(
      .invalid, "A location is 'latitude' (-90 to 90) and 'longitude' (-180 to 180), both numbers in degrees.")
  }
  _ = try MemberReader(value: value).optionalText("measuredDateTime")
  for (name, known) in [("elevation", location.elevation), ("accuracy", location.accuracy)] where known == nil {
    guard value[name] ?? .null == .null else {
      throw ServiceError(.invalid, "'\(name)' is a number of metres, below a billion.")
    }
  }
  return location
}

/// A page of a list: at most `_limit` items behind the first `_bookmark` ones.
struct ListPage {
  static let limitRange = 1...200
  static let limitDefault = 25

  let limit: Int
  let bookmark: Int

  init(_ request: Request) throws(ServiceError) {
    let text = request.parameter("_bookmark") ?? ""
    guard let bookmark = text.isEmpty ? 0 : Int(text), bookmark >= 0 else {
      throw ServiceError(.invalid, "'_bookmark' is one that an earlier answer gave.")
    }
    self.bookmark = bookmark
    guard let text = request.parameter("_limit") else {
      limit = Self.limitDefault
      return
    }
    guard let number = Int(text), Self.limitRange.contains(number) else {
      throw ServiceError(
        .invalid, "'_limit' is an integer from \(Self.limitRange.lowerBound) to \(Self.limitRange.upperBound).")
    }
    limit = number
  }

  /// The page of `items`.
  func answer<Item>(_ items: [Item], json: (Item) -> JSONValue) -> Response {
    let rest = items.dropFirst(bookmark)
    let page = rest.prefix(limit)
    return jsonResponse(
      .members([
        "results": .array(page.map(json)), "meta": .members(["total_rows": .integer(items.count)]),
        "bookmark": page.count < rest.count ? .string("\(bookmark + limit)") : nil,
      ]))
  }
}

/// Milliseconds since 1970 as `2024-05-01T10:15:30.250Z`.
func timeText(_ milliseconds: Int64) -> JSONValue { .string(WallTime(milliseconds: milliseconds).text) }
