// Types of millrace.js.

export type Tags = Record<string, string>;

export interface MillraceEvent {
  id: string;
  /** Where the event stands; only where routers keep history. */
  cursor?: string;
  time: string;
  tags: Tags;
  payload: string | Uint8Array;
  maybe_duplicate?: true;
}

export interface Gap {
  reason: string;
  events?: number;
}

export interface Handlers {
  event?(event: MillraceEvent): void;
  gap?(gap: Gap): void;
  subscribed?(): void;
  error?(error: MillraceError): void;
}

export interface Outcome {
  id: string;
  outcome: "accepted" | "confirmed" | "partial" | "dropped" | "unknown";
  receivers?: number;
  missed?: number;
  reasons?: string[];
}

export interface PublishOptions {
  level?: "none" | "routed" | "delivered";
  time?: string;
}

export interface SubscribeOptions {
  /** The `cursor` of the last event that is known: what followed it comes first. */
  cursor?: string;
}

export interface Options {
  state?(state: "connecting" | "open" | "lost"): void;
  error?(error: MillraceError): void;
}

export class MillraceError extends Error {
  readonly problem: string;
}

export class Millrace {
  constructor(url: string, options?: Options);
  subscribe(selectors: Iterable<string>, handlers: Handlers, options?: SubscribeOptions): () => void;
  publish(tags: Tags, payload?: string | ArrayBuffer | ArrayBufferView, options?: PublishOptions): Promise<Outcome>;
  close(): void;
}
