// What the platform may know and change about the device: who made it and which one it is, where it stands, and
// whatever an application has noted about it.
//
// What the platform has changed is kept until the agent ends: then the configuration counts again.

import AgentConfiguration
import Bytes
import IoTPlatform
import JSON

/// The attributes of a device.
struct DeviceAttributes: ~Copyable {
  /// The longest value that is kept, in bytes.
  static var valueBytesMax: Int { 1024 }

  private let pinned = Pinned()
  // JSON objects; empty where nothing is known.
  private var location: ByteBuffer
  private var metadata: ByteBuffer
  /// Members of the device's information that the platform has changed.
  private var changes: ByteBuffer

  init(isManaged: Bool, in arena: inout Arena) {
    let byteCount = isManaged ? DeviceAttributes.valueBytesMax : 0
    location = ByteBuffer(capacity: byteCount, for: "management", in: &arena)
    metadata = ByteBuffer(capacity: byteCount, for: "management", in: &arena)
    changes = ByteBuffer(capacity: byteCount, for: "management", in: &arena)
  }

  /// The members of the device's information, in the order of the settings.
  private static func memberName(_ index: Int) -> StaticString {
    switch index {
    case 0: "serialNumber"
    case 1: "manufacturer"
    case 2: "model"
    case 3: "deviceClass"
    case 4: "description"
    case 5: "fwVersion"
    case 6: "hwVersion"
    default: "descriptiveLocation"
    }
  }

  private static var memberCount: Int { 8 }

  // MARK: Telling

  /// Appends the value of the attribute whose name is at `name` of `text`, still escaped.
  ///
  /// - Returns: false when there is none; nothing was appended then.
  @inline(never)  // small code
  func appendValue(
    of name: Range<Int>, in text: Span<UInt8>, _ settings: borrowing Settings, _ updater: borrowing Updater,
    to payload: inout ByteBuffer
  ) -> Bool {
    if updater.appendValue(of: name, in: text, to: &payload) { return true }
    if text.jsonString(name, equals: "location") { return append(location, to: &payload) }
    if text.jsonString(name, equals: "metadata") { return append(metadata, to: &payload) }
    if text.jsonString(name, equals: "deviceInfo") {
      appendInformation(settings, updater, to: &payload)
      return true
    }
    guard text.extracting(name).starts(with: "deviceInfo.") else { return false }
    let member = (name.lowerBound + 11)..<name.upperBound
    for index in 0..<DeviceAttributes.memberCount
    where text.jsonString(member, equals: DeviceAttributes.memberName(index)) {
      return appendMember(index, settings, updater, to: &payload)
    }
    return false
  }

  private func append(_ value: borrowing ByteBuffer, to payload: inout ByteBuffer) -> Bool {
    payload.append(value)
    return !value.isEmpty
  }

  /// Appends what is known about the device, as an object.
  func appendInformation(
    _ settings: borrowing Settings, _ updater: borrowing Updater, to payload: inout ByteBuffer
  ) {
    payload.append(UInt8(ascii: "{"))
    let start = payload.count
    for index in 0..<DeviceAttributes.memberCount {
      let before = payload.count
      DeviceAttributes.appendName(index, from: start, to: &payload)
      if !appendMember(index, settings, updater, to: &payload), !payload.hasOverflowed { payload.truncate(to: before) }
    }
    payload.append(UInt8(ascii: "}"))
  }

  /// Appends the name of a member of the object whose first member is at `start`.
  @inline(never)  // small code
  private static func appendName(_ index: Int, from start: Int, to payload: inout ByteBuffer) {
    if payload.count > start { payload.append(UInt8(ascii: ",")) }
    payload.append(UInt8(ascii: "\""))
    payload.append(memberName(index))
    payload.append("\":")
  }

  private func appendMember(
    _ index: Int, _ settings: borrowing Settings, _ updater: borrowing Updater, to payload: inout ByteBuffer
  ) -> Bool {
    if DeviceAttributes.appendMember(index, of: changes.span, to: &payload) { return true }
    let isVersion = index == ManagementSettings.firmwareVersionPlace
    if isVersion, updater.appendInstalledVersion(settings, to: &payload) { return true }
    let value = settings.management.information[index]
    if value.isEmpty { return false }
    payload.appendJSON(string: settings.bytes(value))
    return true
  }

  /// Appends the text of a member of `object`, which is a JSON object or empty; false where it has none.
  @inline(never)  // small code
  private static func appendMember(_ index: Int, of object: Span<UInt8>, to payload: inout ByteBuffer) -> Bool {
    guard case .string(let value) = member(memberName(index), of: object) else { return false }
    // With its quotes.
    payload.append(object.extracting((value.lowerBound - 1)..<(value.upperBound + 1)))
    return true
  }

  // MARK: Being changed

  /// Whether the attribute at `name` of `text` may get the value at `value`: the code to answer.
  @inline(never)  // small code
  func check(_ name: Range<Int>, _ value: Range<Int>?, in text: Span<UInt8>) -> Int {
    let isInformation = text.jsonString(name, equals: "deviceInfo")
    let isLocation = text.jsonString(name, equals: "location")
    guard isInformation || isLocation || text.jsonString(name, equals: "metadata") else {
      return ManagementCode.notFound
    }
    guard let value, text[value.lowerBound] == UInt8(ascii: "{") else { return ManagementCode.badRequest }
    let object = text.extracting(value)
    if isLocation, !hasNumber("latitude", object) || !hasNumber("longitude", object) {
      return ManagementCode.badRequest
    }
    if isInformation, !hasOnlyTexts(object) { return ManagementCode.badRequest }
    // All names besides what there was, and what there will be, is more than enough.
    let others = isInformation ? changes.count : 0
    return value.count + others <= DeviceAttributes.valueBytesMax ? ManagementCode.changed : ManagementCode.failed
  }

  private func hasNumber(_ name: StaticString, _ object: Span<UInt8>) -> Bool {
    if case .number = DeviceAttributes.member(name, of: object) { return true }
    return false
  }

  private func hasOnlyTexts(_ object: Span<UInt8>) -> Bool {
    for index in 0..<DeviceAttributes.memberCount {
      switch DeviceAttributes.member(DeviceAttributes.memberName(index), of: object) {
      case nil, .string: continue
      default: return false
      }
    }
    return true
  }

  /// The value of a member of `object`, which is JSON or empty.
  @inline(never)  // small code
  private static func member(_ name: StaticString, of object: Span<UInt8>) -> JSONToken? {
    do throws(JSONError) { return try object.findMember(name) } catch { return nil }
  }

  /// Gives the attribute at `name` the value at `value`, which `check` has allowed; `scratch` is emptied.
  @inline(never)  // small code
  mutating func change(_ name: Range<Int>, _ value: Range<Int>, in text: Span<UInt8>, _ scratch: inout ByteBuffer) {
    let object = text.extracting(value)
    if text.jsonString(name, equals: "location") {
      location.removeAll()
      location.append(object)
    } else if text.jsonString(name, equals: "metadata") {
      metadata.removeAll()
      metadata.append(object)
    } else {
      merge(object, &scratch)
    }
  }

  /// Sets the location, whose members are in `members`.
  mutating func setLocation(_ members: borrowing ByteBuffer) {
    location.removeAll()
    location.append(UInt8(ascii: "{"))
    location.append(members)
    location.append(UInt8(ascii: "}"))
  }

  /// Takes over members of the device's information; those that `object` has not stay as they are.
  private mutating func merge(_ object: Span<UInt8>, _ scratch: inout ByteBuffer) {
    scratch.removeAll()
    scratch.append(UInt8(ascii: "{"))
    for index in 0..<DeviceAttributes.memberCount {
      let before = scratch.count
      DeviceAttributes.appendName(index, from: 1, to: &scratch)
      if !DeviceAttributes.appendMember(index, of: object, to: &scratch),
        !DeviceAttributes.appendMember(index, of: changes.span, to: &scratch)
      {
        scratch.truncate(to: before)
      }
    }
    scratch.append(UInt8(ascii: "}"))
    changes.removeAll()
    changes.append(scratch)
  }
}
