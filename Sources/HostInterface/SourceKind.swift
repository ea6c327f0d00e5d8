// The kinds of places that sensors are read from: what stands behind `read =`, and all that is known about a kind
// without a machine.
//
// A kind is known in two files. Here are its case and its line in the table, by which the configuration checks it and
// explains it, `Telemetry` takes values out of its text, and the host shares and trusts its sources. Where it is on a
// machine, and what there is to list, is in LinuxHost/Sensors/SourceKinds.swift, where the compiler asks for it. Tests
// ask for its row in the README and its line in Boards/generic/mote.conf.

import Bytes

/// A kind of place, as written before the colon of `read =`.
public enum SourceKind: UInt8, Sendable, BitwiseCopyable {
  /// A thermal zone by its type (or `thermal_zoneN`); a number, of which the host says that it is in thousandths of a
  /// degree Celsius.
  case thermal
  /// A hwmon input by chip name and label (or input name, `temp1`); a number, of which the host says the power of ten
  /// that brings it to its unit.
  case hwmon
  /// A channel of an IIO device by name and label (or as `voltage0`); a number, which the host has scaled as the
  /// device's files say.
  case iio
  /// A 1-wire thermometer by its number; the two lines of w1_slave, of whose `t=` the host says that it is in
  /// thousandths of a degree Celsius.
  case w1
  /// Text of /proc/stat.
  case cpu
  /// Text of /proc/loadavg.
  case loadavg
  /// Text of /proc/meminfo.
  case memory
  /// Text of /proc/uptime.
  case uptime
  /// Text of a network interface's counter.
  case network
  /// Three numbers, `SIZE FREE AVAILABLE` in bytes, from statvfs.
  case disk
  /// A line of a GPIO chip; a number.
  case gpio
  /// Registers of a Modbus unit; a number.
  case modbus
  /// Text of a file.
  case file
  /// The argument itself.
  case constant
}

extension SourceKind {
  /// In the order of the cases. A literal of constants, so that it is data of the program.
  static let table: InlineArray<_, SourceDescription> = [
    SourceDescription(.thermal, "thermal", .name, "TYPE", units: "°C", gives: .number, .byChild),
    SourceDescription(
      .hwmon, "hwmon", .nameAndName, "CHIP/LABEL", units: "°C|V|A|W|J|%|rpm|Hz", gives: .anything, .byChild),
    SourceDescription(
      .iio, "iio", .nameAndName, "DEVICE/CHANNEL",
      units: "°C|V|V|A|W|J|%|%|Pa|m/s²|rad/s|rad|°|°|m/s|m|Ω|nF|lx|G|S/m|µg/m³|%", gives: .anything, .byChild),
    SourceDescription(.w1, "w1", .name, "CHIP", units: "°C", gives: .oneWire, .byChild),
    SourceDescription(.cpu, "cpu", .word, words: "usage", units: "%", gives: .processorTimes, .inLoop),
    SourceDescription(.loadavg, "loadavg", .word, words: "1|5|15", gives: .columns, .inLoop),
    SourceDescription(
      .memory, "memory", .word, "FIELD",
      words: "total|free|available|used|buffers|cached|swap-total|swap-free|swap-used", units: "B", gives: .memory,
      .inLoop),
    SourceDescription(.uptime, "uptime", .none, units: "s", gives: .columns, .inLoop),
    SourceDescription(
      .network, "network", .interfaceAndWord, "INTERFACE/COUNTER",
      words: "rx-bytes|tx-bytes|rx-packets|tx-packets|rx-errors|tx-errors|rx-dropped|tx-dropped|collisions|multicast",
      units: "B|B", gives: .number, .inLoop),
    SourceDescription(
      .disk, "disk", .pathAndWord, "PATH/QUANTITY", words: "free|used|total|available|percent", units: "B|B|B|B|%",
      gives: .fileSystem, .fileSystemByChild),
    SourceDescription(
      .gpio, "gpio", .line, "LINE", words: "level|count|frequency|lost", units: "||Hz|", gives: .anything, .byLine),
    SourceDescription(.modbus, "modbus", .register, "PLACE", gives: .registers, .byBus),
    SourceDescription(.file, "file", .path, "PATH", gives: .fields, .byChild),
    SourceDescription(.constant, "constant", .text, "TEXT", gives: .fields, .fromArgument),
  ]

  /// How many there are.
  public static var count: Int { table.count }

  /// What is known about it.
  public var description: SourceDescription { SourceKind.table[Int(rawValue)] }

  /// The word before the colon.
  public var name: StaticString { SourceKind.table[Int(rawValue)].name }

  /// The kind with this name, whose case does not matter.
  public static func named(_ name: Span<UInt8>) -> SourceKind? {
    // Lengths first, which rule out most.
    for index in table.indices where table[index].name.utf8CodeUnitCount == name.count {
      if table[index].name.bytes.equalsIgnoringCase(name) { return table[index].kind }
    }
    return nil
  }
}

/// What stands behind the colon.
public enum SourceArgument: UInt8, Sendable, BitwiseCopyable {
  /// Nothing, nor a colon.
  case none
  /// A name without a slash.
  case name
  /// Two names with a slash between them; the second one may have more.
  case nameAndName
  /// One of the words.
  case word
  /// A network interface, a slash and one of the words.
  case interfaceAndWord
  /// An absolute path, a slash and one of the words.
  case pathAndWord
  /// An absolute path.
  case path
  /// A line by its name, or a chip, a slash and a number; words about it, the last perhaps one of those.
  case line
  /// A bus, and words that say what is read there.
  case register
  /// Any text.
  case text
}

/// What the text of a source is.
public enum SourceText: UInt8, Sendable, BitwiseCopyable {
  /// A number and nothing else.
  case number
  /// A number, a truth value or other text.
  case anything
  /// The same, or several of them behind names, where the configuration gives one.
  case fields
  /// Columns of numbers; each word names one, in their order.
  case columns
  /// /proc/meminfo; the words are those of `MemoryQuantity`.
  case memory
  /// `SIZE FREE AVAILABLE` in bytes; the words are those of `DiskQuantity`.
  case fileSystem
  /// /proc/stat.
  case processorTimes
  /// w1_slave of a 1-wire thermometer.
  case oneWire
  /// The address of the first value, and the values behind it.
  case registers
}

/// How a host gets at the text of a source that it is asked for.
public enum SourceReading: UInt8, Sendable, BitwiseCopyable {
  /// It never blocks by nature: it is read in the loop, from a file that stays open.
  case inLoop
  /// It may block: a child reads it until it has proved to be quick.
  case byChild
  /// The same, for the sizes of a file system.
  case fileSystemByChild
  /// A child asks a bus for it, and for all that is wanted of the same place.
  case byBus
  /// It tells by itself what happens (see `HostSensors.nextTellingSource`), and never blocks.
  case byLine
  /// There is nothing to be read: the argument is the text.
  case fromArgument
}

/// What is known about a kind of source without a machine.
public struct SourceDescription: Sendable, BitwiseCopyable {
  /// Whose description this is.
  public let kind: SourceKind
  /// The word before the colon.
  public let name: StaticString
  /// What stands behind it.
  public let argument: SourceArgument
  /// The same for people, in capitals; empty where the words say it all.
  public let form: StaticString
  /// Words of which the argument, or what stands behind its last slash, must be one.
  public let words: WordList
  /// The unit of each word; one alone is that of all. Without words, all that there may be.
  public let units: WordList
  /// What its text is.
  public let text: SourceText
  /// How its text is got at.
  public let reading: SourceReading

  @inline(__always)
  fileprivate init(
    _ kind: SourceKind, _ name: StaticString, _ argument: SourceArgument, _ form: StaticString = "",
    words: StaticString = "", units: StaticString = "", gives text: SourceText, _ reading: SourceReading
  ) {
    self.kind = kind
    self.name = name
    self.argument = argument
    self.form = form
    self.words = WordList(words)
    self.units = WordList(units)
    self.text = text
    self.reading = reading
  }

  /// The part of an argument that tells where it is read; the rest tells what is taken out of the text. Sources of the
  /// same kind and place are the same source.
  public func place(in argument: Span<UInt8>) -> Range<Int> {
    switch self.argument {
    case .none, .word: 0..<0
    case .pathAndWord: 0..<(argument.lastIndex(of: UInt8(ascii: "/")) ?? argument.count)
    case .name, .nameAndName, .interfaceAndWord, .path, .line, .register, .text: 0..<argument.count
    }
  }

  /// The position of the word with which an argument ends, or which it is; nil when it is none of them. They are
  /// written in lower case.
  public func word(in argument: Span<UInt8>) -> Int? {
    var start = 0
    if self.argument == .line {
      start = (argument.lastIndex(of: UInt8(ascii: " ")) ?? -1) + 1
      return start > 0 ? words.index(of: argument.extracting(start..<argument.count)) ?? 0 : 0
    }
    if self.argument != .word {
      guard let slash = argument.lastIndex(of: UInt8(ascii: "/")) else { return nil }
      start = slash + 1
    }
    for index in start..<argument.count where argument[index] != argument[index].lowercased { return nil }
    return words.index(of: argument.extracting(start..<argument.count))
  }

  /// The unit of what `argument` names; empty where it has none, or only the machine knows it.
  @_lifetime(immortal)
  public func unit(of argument: Span<UInt8>) -> Span<UInt8> {
    if units.bytes.firstIndex(of: UInt8(ascii: "|")) == nil { return units.word(0) }
    if let word = word(in: argument) { return units.word(word) }
    // An input by its own name, as `temp1` or `accel_x`.
    guard let slash = argument.lastIndex(of: UInt8(ascii: "/")) else { return units.word(.max) }
    return units.word(quantity(of: argument.extracting((slash + 1)..<argument.count)) ?? .max)
  }

  /// What the names of inputs begin with, in the order of the units.
  public var quantities: WordList {
    switch kind {
    case .hwmon: WordList("temp|in|curr|power|energy|humidity|fan|freq")
    case .iio:
      WordList(
        """
        temp|voltage|altvoltage|current|power|energy|humidityrelative|positionrelative|pressure|accel|anglvel|angl|\
        rot|incli|velocity|distance|resistance|capacitance|illuminance|magn|electricalconductivity|\
        massconcentration|concentration
        """)
    default: WordList("")
    }
  }

  /// The position among `quantities` of what an input's name, `temp1` or `accel_x`, begins with.
  public func quantity(of input: Span<UInt8>) -> Int? {
    var end = 0
    while end < input.count, input[end] >= UInt8(ascii: "a"), input[end] <= UInt8(ascii: "z") { end += 1 }
    return quantities.index(of: input.extracting(0..<end))
  }
}
