// Hand-kept shape of the procedures the pages call, until the server generates its own.
import type { TRPCBuiltRouter, TRPCDefaultErrorShape, TRPCMutationProcedure, TRPCQueryProcedure } from "@trpc/server";

type Query<Input, Output> = TRPCQueryProcedure<{ meta: unknown; input: Input; output: Output }>;
type Mutation<Input, Output> = TRPCMutationProcedure<{ meta: unknown; input: Input; output: Output }>;
type Root = { ctx: object; meta: object; errorShape: TRPCDefaultErrorShape; transformer: true };

export interface AuthUser { id: string; name: string; username: string; email: string; avatar: string }
interface Tokens { accessToken: string; refreshToken: string; expiresAt: Date }
type SignedIn = Tokens & { success: boolean; user: AuthUser; message: string };

export interface SessionListItem {
  id: string; hostId: string; hostName: string; hostAvatar: string; title: string; description?: string; category?: string;
  thumbnail?: string; type: "video" | "audio"; viewerCount: number; isLive: boolean; startedAt: Date; tags: string[];
}
export interface ChatMessage {
  id: string; sessionId: string; userId: string; userName: string; userAvatar: string; message: string;
  type: "text" | "emoji" | "gift"; giftId?: string; timestamp: Date; isHighlighted: boolean;
}
interface ViewerSession {
  sessionId: string; userId: string; role: "viewer" | "co-host"; token: string; joinedAt: Date;
  permissions: { canChat: boolean; canSendGifts: boolean; canRequestCoHost: boolean; canModerate: boolean };
}
interface CreatedSession { id: string; title: string; streamKey: string; rtmpUrl: string; playbackUrl: string }

export type AppRouter = TRPCBuiltRouter<Root, {
  auth: {
    register: Mutation<{ name: string; username: string; email: string; password: string }, SignedIn>;
    login: Mutation<{ email: string; password: string }, SignedIn>;
    refresh: Mutation<{ refreshToken: string }, Tokens>;
    logout: Mutation<{ refreshToken?: string | undefined }, { success: boolean }>;
    me: Query<void, { user: AuthUser }>;
  };
  streaming: {
    createSession: Mutation<{ title: string; type: "video" | "audio"; category?: string; isPrivate?: boolean }, { success: boolean; session: CreatedSession; message: string }>;
    joinSession: Mutation<{ sessionId: string }, { success: boolean; viewerSession: ViewerSession; playbackUrl: string; chatEndpoint: string; message: string }>;
    getActiveSessions: Query<{ category?: string; limit?: number; offset?: number }, { sessions: SessionListItem[]; total: number; hasMore: boolean }>;
    endSession: Mutation<{ sessionId: string }, { success: boolean; message: string }>;
  };
  chat: {
    sendMessage: Mutation<{ sessionId: string; message: string }, { success: boolean; message: ChatMessage }>;
    getMessages: Query<{ sessionId: string; limit?: number; before?: string }, { messages: ChatMessage[]; hasMore: boolean }>;
  };
}>;
