// A Socket.IO client for tests, whose server the test plays.

import type { io } from "socket.io-client"
import { acknowledgement } from "./fixtures.ts"
import type { Acknowledgement, ConnectAuth, ConnectRefusal, Moment, Subscribe } from "./types.ts"

type Handler = (...values: never[]) => void
type Done = (error: Error | null, answer?: Acknowledgement) => void

export class FakeSocket {
  connected = false
  /** What `auth` gave at each connection. */
  readonly auths: ConnectAuth[] = []
  /** The subscriptions that wait for their acknowledgements. */
  sent: { readonly message: Subscribe; readonly done: Done }[] = []
  readonly #handlers = new Map<string, Handler[]>()
  #any: Handler[] = []
  #auth: (give: (auth: ConnectAuth) => void) => void = () => undefined

  /** Stands in place of `io`. */
  readonly open = ((options: { auth: (give: (auth: ConnectAuth) => void) => void }) => {
    this.#auth = options.auth
    return this
  }) as unknown as typeof io

  on(name: string, handler: Handler): void {
    this.#handlers.set(name, [...(this.#handlers.get(name) ?? []), handler])
  }

  onAny(handler: Handler): void {
    this.#any = [...this.#any, handler]
  }

  connect(): void {
    this.#auth((auth) => this.auths.push(auth))
  }

  disconnect(): void {
    this.#end("io client disconnect")
  }

  timeout(): { emit: (name: string, message: Subscribe, done: Done) => void } {
    return { emit: (_, message, done) => this.sent.push({ message, done }) }
  }

  // What the server does.

  send(name: string, event: unknown): void {
    this.connected = true
    for (const handler of this.#any) handler(...([name, event] as never[]))
    this.#call(name, event)
  }

  refuse(refusal: ConnectRefusal | null): void {
    this.#call("connect_error", Object.assign(new Error(), { data: refusal ?? undefined }))
  }

  drop(): void {
    this.#end("transport close")
  }

  acknowledge(marketTime: Moment, changes: Partial<Acknowledgement> = {}): void {
    for (const { done } of this.sent.splice(0)) done(null, { ...acknowledgement(marketTime), ...changes })
  }

  #end(reason: string): void {
    if (!this.connected) return
    this.connected = false
    this.#call("disconnect", reason)
  }

  #call(name: string, value: unknown): void {
    for (const handler of this.#handlers.get(name) ?? []) handler(...([value] as never[]))
  }
}
