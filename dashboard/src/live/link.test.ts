// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { apiKey } from "../api/key.svelte.ts"
import { FakeSocket } from "./fake-socket.ts"
import { at, heartbeat, hello, NOON, price, signal, signalOf, snapshot } from "./fixtures.ts"
import { Link } from "./link.ts"
import { Live } from "./live.svelte.ts"
import type { ConnectionState, ConnectRefusal } from "./types.ts"

let live: Live
let socket: FakeSocket
let link: Link
let end: () => void

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] })
  vi.spyOn(Math, "random").mockReturnValue(1)
  live = new Live()
  socket = new FakeSocket()
  link = new Link(live, undefined, socket.open)
  end = link.start()
})

afterEach(() => {
  end()
  vi.useRealTimers()
  apiKey.set(null)
})

function state(): ConnectionState {
  return live.connection.state
}

/** The page has connected at noon and knows SPY up to event 5. */
function begin(): void {
  socket.send("hello", hello())
  socket.send("snapshot", snapshot(5))
}

describe("connecting", () => {
  it("subscribes by auth to all tickers, at first without a place to go on", () => {
    expect(state()).toBe("connecting")
    expect(socket.auths).toEqual([{ subscribe: ["SPY", "QQQ", "IWM"] }])
    begin()
    expect(state()).toBe("open")
    expect(live.of("SPY")).toMatchObject({ isCurrent: true, seq: 5 })
    expect(live.hello?.source).toBe("polygon")
  })

  it("goes on behind the last event of each ticker, and carries the key in auth", () => {
    begin()
    apiKey.set("s3cret")
    socket.drop()
    vi.advanceTimersByTime(500)
    expect(socket.auths.at(-1)).toEqual({ subscribe: ["SPY", "QQQ", "IWM"], after: { SPY: "e1-5" }, key: "s3cret" })
  })

  it("knows the market's time from the hello, although a snapshot was made a while before", () => {
    socket.send("hello", hello(at("12:00:50")))
    socket.send("snapshot", snapshot(5, at("12:00:01")))
    expect(live.of("SPY").isCurrent).toBe(true)
    vi.advanceTimersByTime(10_000)
    expect(live.clock.at(performance.now())).toBe(Date.parse(at("12:01:00")))
    socket.send("price", price(6, at("12:01:01"), 470))
    expect(live.clock.speed).toBe(1)
  })

  it("runs the market's clock as fast as the hello says, also where another server comes after it", () => {
    socket.send("hello", { ...hello(at("12:00:00")), clock_speed: 75 })
    vi.advanceTimersByTime(2_000)
    expect(live.clock.at(performance.now())).toBe(Date.parse(at("12:02:30")))
    socket.send("hello", hello(at("11:00:00")))
    vi.advanceTimersByTime(2_000)
    expect(live.clock.at(performance.now())).toBe(Date.parse(at("11:00:02")))
  })

  it("tries again where nothing comes", () => {
    vi.advanceTimersByTime(8_000)
    expect(state()).toBe("lost")
    vi.advanceTimersByTime(500)
    expect(socket.auths).toHaveLength(2)
  })
})

describe("what cannot be read", () => {
  it.each([
    ["nothing", null],
    ["a moment that is none", { ...hello(), market_time: "rubbish" }],
    ["a clock that stands", { ...hello(), clock_speed: 0 }],
    ["a market that is not known", { ...hello(), source: "rubbish" }],
    ["no limits", { ...hello(), limits: null }],
  ])("as a greeting (%s) begins no connection, and another one is tried ever more slowly", (_, greeting) => {
    for (const wait of [500, 1_000]) {
      socket.send("hello", greeting)
      expect(live.connection).toMatchObject({ state: "lost", retryAtMs: performance.now() + wait })
      expect([live.hello, live.clock.at(performance.now())]).toEqual([null, null])
      vi.advanceTimersByTime(wait)
    }
    begin()
    expect(state()).toBe("open")
  })

  it("as an error of a ticker says that nothing of it is current, in a sentence of the page's own", () => {
    begin()
    socket.send("error", { ticker: "SPY", code: 7, detail: { text: "No." } })
    expect(live.of("SPY").error?.detail).toBe("The server tells of an error that this page cannot read.")
    expect(live.of("QQQ").error).toBeNull()
    socket.send("error", null)
    expect(state()).toBe("open")
  })

  it("as a goodbye or a refusal ends the connection like any other loss", () => {
    begin()
    socket.send("bye", { reason: null, retry_after_ms: "soon" })
    expect(live.connection).toMatchObject({ state: "lost", refusal: null, retryAtMs: performance.now() + 500 })
    vi.advanceTimersByTime(500)
    socket.refuse({ detail: 7 } as unknown as ConnectRefusal)
    expect(live.connection).toMatchObject({ state: "lost", refusal: null, retryAtMs: performance.now() + 1_000 })
  })

  it("as a heartbeat counts as a missing event", () => {
    begin()
    socket.send("heartbeat", { ...heartbeat(5), next_by: "rubbish" })
    expect(live.of("SPY")).toMatchObject({ isCurrent: false, quietMs: 30_000 })
  })
})

describe("a lost connection", () => {
  it("is said at once, and nothing stays current", () => {
    begin()
    socket.drop()
    expect(live.connection).toMatchObject({ state: "lost", retryAtMs: performance.now() + 500 })
    expect(live.of("SPY")).toMatchObject({ isCurrent: false, seq: 5 })
  })

  it("comes back by itself, ever more slowly, and at first again where it succeeded", () => {
    begin()
    socket.drop()
    const waits = [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]
    for (const [count, wait] of waits.entries()) {
      vi.advanceTimersByTime(wait - 1)
      expect(socket.auths).toHaveLength(1 + count)
      vi.advanceTimersByTime(1)
      expect(socket.auths).toHaveLength(2 + count)
      socket.refuse(null)
    }
    vi.advanceTimersByTime(10_000)
    begin()
    socket.drop()
    expect(live.connection.retryAtMs).toBe(performance.now() + 500)
  })

  it("shows nothing as current until the first heartbeat behind what was missed", () => {
    begin()
    socket.drop()
    vi.advanceTimersByTime(500)
    socket.send("hello", hello(at("12:10:00")))
    socket.send("price", price(6, at("12:01:00"), 470))
    expect(live.of("SPY")).toMatchObject({ seq: 6, isCurrent: false })
    socket.send("heartbeat", heartbeat(6))
    expect(live.of("SPY")).toMatchObject({ seq: 6, isCurrent: true, prices: { now: 470 } })
  })

  it("asks for what holds now where the server does not say at once that nothing is missing", () => {
    begin()
    socket.drop()
    vi.advanceTimersByTime(500)
    socket.send("hello", hello(at("12:00:30")))
    vi.advanceTimersByTime(1_000)
    expect(socket.sent.map(({ message }) => message)).toEqual([{ ticker: "SPY" }])
    socket.send("snapshot", snapshot(5, at("12:00:31")))
    expect(live.of("SPY").isCurrent).toBe(false)
    socket.acknowledge(at("12:00:31"))
    expect(live.of("SPY").isCurrent).toBe(true)
  })

  it("is current again at the first event of now", () => {
    begin()
    socket.drop()
    vi.advanceTimersByTime(500)
    socket.send("hello", hello(at("12:10:00")))
    socket.send("price", price(6, at("12:10:00"), 470))
    expect(live.of("SPY").isCurrent).toBe(true)
  })
})

describe("what was asked for in place of events", () => {
  beforeEach(() => {
    begin()
    socket.drop()
    live.put("SPY", { ...live.of("SPY"), isCurrent: true })
    live.polledMs = performance.now()
  })

  function isTold(): boolean {
    return live.of("SPY").isCurrent && live.polledMs !== null
  }

  it("holds while attempts to connect fail", () => {
    for (const wait of [500, 1_000, 2_000]) {
      vi.advanceTimersByTime(wait)
      socket.refuse(null)
    }
    vi.advanceTimersByTime(4_000 + 8_000)
    expect(state()).toBe("lost")
    expect(isTold()).toBe(true)
  })

  it.each([
    [
      "the browser is offline",
      () => {
        link.cut()
      },
    ],
    [
      "the tab slept",
      () => {
        link.wake()
      },
    ],
    [
      "events come again, of which some may be missing",
      () => {
        socket.send("hello", hello(at("12:10:00")))
      },
    ],
  ])("is doubted where %s", (_, happen) => {
    happen()
    expect(live.of("SPY").isCurrent).toBe(false)
    expect(isTold()).toBe(false)
  })
})

describe("silence", () => {
  it("is noticed after as long as the server said, whatever the library says, and ends with the next connection", () => {
    begin()
    socket.send("heartbeat", heartbeat(5, { server_time: at("03:00:00"), next_by: at("03:00:10") }))
    for (const ticker of ["QQQ", "IWM"])
      socket.send("heartbeat", heartbeat(null, { ticker, server_time: at("03:00:00"), next_by: at("03:00:10") }))
    vi.advanceTimersByTime(9_999)
    expect(state()).toBe("open")
    vi.advanceTimersByTime(1)
    expect(state()).toBe("mute")
    expect(live.of("SPY").isCurrent).toBe(false)
    vi.advanceTimersByTime(500)
    socket.send("hello", hello())
    expect(state()).toBe("open")
  })

  it("does not depend on the viewer's clock", () => {
    begin()
    vi.setSystemTime(Date.now() + 3_600_000)
    vi.advanceTimersByTime(1_000)
    expect(state()).toBe("open")
  })
})

describe("a refusal", () => {
  it("comes back by itself when the server says", () => {
    socket.refuse({ code: "TOO_MANY_CONNECTIONS", detail: "20 of 20.", retry_after_ms: 7_000 })
    expect(live.connection).toMatchObject({ state: "refused", refusal: { code: "TOO_MANY_CONNECTIONS" } })
    vi.advanceTimersByTime(6_999)
    expect(socket.auths).toHaveLength(1)
    vi.advanceTimersByTime(1)
    expect(socket.auths).toHaveLength(2)
    begin()
    expect(live.connection).toMatchObject({ state: "open", refusal: null })
  })

  it("that would be repeated is final until the viewer gives another key", () => {
    socket.refuse({ code: "UNAUTHORIZED", detail: "Unknown key.", retry_after_ms: null })
    vi.advanceTimersByTime(3_600_000)
    expect(socket.auths).toHaveLength(1)
    apiKey.set("other")
    link.restart()
    vi.advanceTimersByTime(0)
    expect(socket.auths.at(-1)).toMatchObject({ key: "other" })
  })
})

it("a goodbye is obeyed: the page comes back when the server says", () => {
  begin()
  socket.send("bye", { reason: "restart", detail: "The server stops.", retry_after_ms: 2_345 })
  expect(live.connection).toMatchObject({ state: "lost", refusal: { detail: "The server stops." } })
  vi.advanceTimersByTime(2_344)
  expect(socket.auths).toHaveLength(1)
  vi.advanceTimersByTime(1)
  expect(socket.auths).toHaveLength(2)
})

describe("a gap in the sequence", () => {
  it("is mended by what is behind the last event, and nothing is current until then", () => {
    begin()
    socket.send("price", price(7, at("12:02:00"), 472))
    expect(live.of("SPY")).toMatchObject({ isCurrent: false, seq: 5, prices: { now: 461 } })
    expect(socket.sent.map(({ message }) => message)).toEqual([{ ticker: "SPY", after: "e1-5" }])
    socket.acknowledge(at("12:02:01"))
    socket.send("price", price(6, at("12:01:00"), 471))
    socket.send("price", price(7, at("12:02:00"), 472))
    socket.send("heartbeat", heartbeat(7))
    expect(live.of("SPY")).toMatchObject({ isCurrent: true, seq: 7, prices: { now: 472 } })
  })

  it("asks once, however many events come behind it", () => {
    begin()
    for (const seq of [7, 8, 9]) socket.send("price", price(seq, at("12:02:00"), 472))
    expect(socket.sent).toHaveLength(1)
  })

  it("is mended by a snapshot where that did not help, and then ever more slowly", () => {
    begin()
    socket.send("price", price(7, at("12:02:00"), 472))
    socket.acknowledge(at("12:02:01"))
    socket.send("price", price(8, at("12:03:00"), 473))
    expect(socket.sent.map(({ message }) => message)).toEqual([{ ticker: "SPY" }])
    socket.acknowledge(at("12:03:01"))
    socket.send("price", price(9, at("12:04:00"), 473))
    expect(socket.sent).toEqual([])
    vi.advanceTimersByTime(2_000)
    expect(socket.sent).toHaveLength(1)
    socket.acknowledge(at("12:04:01"))
    socket.send("snapshot", snapshot(9, at("12:04:01")))
    expect(live.of("SPY")).toMatchObject({ isCurrent: true, seq: 9 })
  })

  it("is seen by a heartbeat", () => {
    begin()
    socket.send("heartbeat", heartbeat(8))
    expect(live.of("SPY").isCurrent).toBe(false)
    expect(socket.sent).toHaveLength(1)
  })

  it("waits where the server takes no more messages", () => {
    begin()
    socket.send("price", price(7, at("12:02:00"), 472))
    const error = { code: "TOO_MANY_MESSAGES", detail: "", ticker: null, retry_after_ms: 4_000 } as const
    socket.acknowledge(at("12:02:01"), { error })
    vi.advanceTimersByTime(3_999)
    expect(socket.sent).toEqual([])
    vi.advanceTimersByTime(1)
    expect(socket.sent).toHaveLength(1)
  })

  it("ends a connection that does not answer", () => {
    begin()
    socket.send("price", price(7, at("12:02:00"), 472))
    socket.sent[0]?.done(new Error("timeout"))
    expect(state()).toBe("mute")
  })
})

describe("a tab that slept", () => {
  it("shows nothing as current that came meanwhile", () => {
    begin()
    link.wake()
    expect(live.of("SPY").isCurrent).toBe(false)
    socket.send("price", price(6, at("12:01:00"), 471))
    expect(live.of("SPY")).toMatchObject({ seq: 6, isCurrent: false })
    socket.acknowledge(at("12:30:00"))
    socket.send("price", price(7, at("12:29:00"), 472))
    expect(live.of("SPY").isCurrent).toBe(false)
    socket.send("heartbeat", heartbeat(7))
    expect(live.of("SPY").isCurrent).toBe(true)
  })

  it("connects anew where nothing has come for too long", () => {
    begin()
    const heard = performance.now()
    vi.spyOn(performance, "now").mockReturnValue(heard + 40_000)
    link.wake()
    expect(state()).toBe("lost")
    vi.advanceTimersByTime(0)
    expect(socket.auths).toHaveLength(2)
  })
})

describe("a new decision", () => {
  const buy = signal(6, at("13:00:00"), { decision_hour: 13, action: "BUY_CALL" })

  it("is news once", () => {
    begin()
    expect(live.news).toBeNull()
    socket.send("signal", buy)
    expect(live.news).toMatchObject({ ticker: "SPY", signal: { action: "BUY_CALL" } })
    const { news } = live
    socket.send("signal", { ...buy, seq: 7, id: "e1-7" })
    expect(live.news).toBe(news)
  })

  it("is no news where it was made while there was no connection", () => {
    begin()
    socket.drop()
    vi.advanceTimersByTime(500)
    socket.send("hello", hello(at("13:30:00")))
    socket.send("signal", buy)
    socket.send("heartbeat", heartbeat(6))
    expect(live.of("SPY").signal?.action).toBe("BUY_CALL")
    expect(live.news).toBeNull()
  })
})

it("an error about a ticker stays until something comes of it", () => {
  begin()
  socket.send("error", { code: "UNAVAILABLE", detail: "No bars.", ticker: "SPY", retry_after_ms: null })
  expect(live.of("SPY").error?.detail).toBe("No bars.")
  socket.send("heartbeat", heartbeat(5))
  expect(live.of("SPY").error).toBeNull()
})

describe("an event that cannot be read", () => {
  const rubbish = { generated_at: "rubbish", as_of: "rubbish" }
  const nothing = { prices: null as never }

  beforeEach(() => {
    vi.spyOn(console, "error").mockImplementation(() => undefined)
  })

  it.each([rubbish, nothing])("counts as missing: nothing of its ticker is current until it has come", (changes) => {
    begin()
    socket.send("price", price(6, at("12:01:00"), 471, changes))
    expect(live.of("SPY")).toMatchObject({ isCurrent: false, seq: 5, generatedAt: NOON, prices: { now: 461 } })
    expect(socket.sent.map(({ message }) => message)).toEqual([{ ticker: "SPY", after: "e1-5" }])
    socket.acknowledge(at("12:01:01"))
    socket.send("price", price(6, at("12:01:00"), 471))
    socket.send("heartbeat", heartbeat(6))
    expect(live.of("SPY")).toMatchObject({ isCurrent: true, seq: 6, prices: { now: 471 } })
  })

  it("is asked for ever more slowly where it comes again and again", () => {
    begin()
    for (const seq of [6, 6, 6]) {
      socket.send("price", price(seq, at("12:01:00"), 471, rubbish))
      socket.acknowledge(at("12:01:01"))
    }
    expect(socket.sent).toEqual([])
    vi.advanceTimersByTime(2_000)
    expect(socket.sent.map(({ message }) => message)).toEqual([{ ticker: "SPY" }])
  })

  it.each([null, "rubbish", [], { ticker: "SPY" }])("does not stop the others: %j", (message) => {
    begin()
    for (const name of ["price", "snapshot", "heartbeat"]) {
      expect(() => {
        socket.send(name, message)
      }).not.toThrow()
    }
    socket.send("snapshot", { ...snapshot(7), ticker: "QQQ", signal: signalOf({ ticker: "QQQ" }) })
    expect(live.of("QQQ")).toMatchObject({ isCurrent: true, seq: 7 })
  })
})
