// Generated from the table of procedures; do not edit. To bring it up to date:
//   CHOBI_UPDATE_APP_ROUTER=1 cargo test -p chobi-control --test app_router
//
// Types only: `createTRPCClient<AppRouter>({ links: [httpLink({ url, transformer: superjson })] })`.

import type {
  TRPCBuiltRouter,
  TRPCDefaultErrorShape,
  TRPCMutationProcedure,
  TRPCQueryProcedure,
} from '@trpc/server';

export interface ActiveSessions {
  sessions: SessionListItem[];
  total: number;
  hasMore: boolean;
}

export interface AuthUser {
  id: string;
  name: string;
  username: string;
  email: string;
  avatar: string;
  bio: string;
  followers: number;
  following: number;
  posts: number;
  isVerified: boolean;
  level: number;
  coins: number;
  joinedDate: string;
}

export interface Candidate {
  userId: string;
  name: string;
  avatar: string;
  since: Date;
}

export interface ChatMessage {
  id: string;
  sessionId: string;
  userId: string;
  userName: string;
  userAvatar: string;
  message: string;
  type: 'text' | 'emoji' | 'gift';
  giftId?: string;
  timestamp: Date;
  isHighlighted: boolean;
}

export interface CoHostCard {
  userId: string;
  name: string;
  avatar: string;
  isLive: boolean;
  isMuted: boolean;
  mute: 'open' | 'self' | 'host';
  broadcastId: string;
}

export interface CoHostMoved {
  success: boolean;
  state: 'requested' | 'invited' | 'approved' | 'declined' | 'removed' | 'left';
  message: string;
}

export interface CoHostMuted {
  success: boolean;
  isMuted: boolean;
  mute: 'open' | 'self' | 'host';
  message: string;
}

export interface CoHostOverview {
  coHosts: CoHostCard[];
  requests?: Candidate[];
  invitations?: Candidate[];
  ownState?: 'requested' | 'invited' | 'approved' | 'declined' | 'removed' | 'left';
}

export interface CoHostSeat {
  sessionId: string;
  userId: string;
}

export interface CoHostSession {
  sessionId: string;
}

export interface CreateSession {
  title: string;
  description?: string;
  type: 'video' | 'audio';
  category?: string;
  isPrivate?: boolean;
  maxViewers?: number;
  scheduledAt?: Date;
  recording?: boolean;
  allowDownload?: boolean;
}

export interface DeclineCoHost {
  sessionId: string;
  userId?: string;
}

export interface DeleteVideo {
  videoId: string;
}

export interface EndSession {
  sessionId: string;
}

export interface GetActiveSessions {
  type?: 'video' | 'audio' | 'all';
  category?: string;
  limit?: number;
  offset?: number;
}

export interface GetMessages {
  sessionId: string;
  limit?: number;
  before?: string;
}

export interface GetProfile {
  userId?: string;
}

export interface GetSession {
  sessionId: string;
}

export interface GetVideos {
  category?: string;
  sortBy?: 'recent' | 'popular' | 'trending';
  limit?: number;
  offset?: number;
  userId?: string;
  search?: string;
}

export interface HostedSession {
  id: string;
  title: string;
  category?: string;
  isPrivate: boolean;
  status: 'waiting' | 'live' | 'ended';
  isInterrupted: boolean;
  viewerCount: number;
  createdAt: Date;
  startedAt?: Date;
}

export interface JoinSession {
  sessionId: string;
  role?: 'viewer' | 'co-host';
  ticket?: string;
}

export interface LoggedOut {
  success: boolean;
}

export interface Login {
  email: string;
  password: string;
}

export interface Logout {
  refreshToken?: string;
}

export interface Me {
  user: AuthUser;
}

export interface MessagePage {
  messages: ChatMessage[];
  hasMore: boolean;
}

export interface MessageSent {
  success: boolean;
  message: ChatMessage;
}

export interface MuteCoHost {
  sessionId: string;
  userId: string;
  muted: boolean;
}

export interface MySessions {
  sessions: HostedSession[];
}

export interface NotificationChoices {
  newFollower: boolean;
  giftReceived: boolean;
  streamStarted: boolean;
  comments: boolean;
}

export interface PlayVideo {
  videoId?: string;
  sessionId?: string;
}

export interface Preferences {
  language: 'ar' | 'en';
  theme: 'light' | 'dark';
  notifications: NotificationChoices;
  privacy: PrivacyChoices;
}

export interface PrivacyChoices {
  showOnlineStatus: boolean;
  allowDirectMessages: boolean;
  showStats: boolean;
}

export interface ProfileAnswer {
  profile: UserProfile;
  isOwnProfile: boolean;
}

export interface Refresh {
  refreshToken: string;
}

export interface Refreshed {
  accessToken: string;
  refreshToken: string;
  expiresAt: Date;
}

export interface Register {
  name: string;
  username: string;
  email: string;
  password: string;
}

export interface RotateStreamKey {
  sessionId: string;
}

export interface SendMessage {
  sessionId: string;
  message: string;
  type?: 'text' | 'emoji' | 'gift';
  giftId?: string;
  clientMessageId?: string;
}

export interface SessionCreated {
  success: boolean;
  session: StreamingSession;
  message: string;
}

export interface SessionEnded {
  success: boolean;
  stats: SessionStats;
  message: string;
}

export interface SessionFound {
  session: SessionListItem;
  status: 'waiting' | 'live' | 'ended';
  isInterrupted: boolean;
  hasReplay: boolean;
  rewindSeconds: number;
}

export interface SessionJoined {
  success: boolean;
  viewerSession: ViewerSession;
  playbackUrl: string;
  chatEndpoint: string;
  message: string;
}

export interface SessionListItem {
  id: string;
  hostId: string;
  hostName: string;
  hostAvatar: string;
  title: string;
  description?: string;
  type: 'video' | 'audio';
  category?: string;
  viewerCount: number;
  isLive: boolean;
  thumbnail?: string;
  startedAt?: Date;
  tags: string[];
}

export interface SessionStats {
  totalViewers: number;
  peakViewers: number;
  duration: number;
  totalMessages: number;
  totalGifts: number;
}

export interface SignedInAnswer {
  success: boolean;
  user: AuthUser;
  accessToken: string;
  refreshToken: string;
  expiresAt: Date;
  message: string;
}

export interface StreamKeyRotated {
  success: boolean;
  sessionId: string;
  streamKey: string;
  rtmpUrl: string;
  message: string;
}

export interface StreamingSession {
  id: string;
  hostId: string;
  hostName: string;
  hostAvatar: string;
  title: string;
  description?: string;
  type: 'video' | 'audio';
  category?: string;
  isPrivate: boolean;
  maxViewers?: number;
  scheduledAt?: Date;
  recording: boolean;
  allowDownload: boolean;
  status: 'waiting' | 'live' | 'ended';
  viewerCount: number;
  thumbnail?: string;
  tags: string[];
  createdAt: Date;
  startedAt?: Date;
  endedAt?: Date;
  streamKey: string;
  rtmpUrl: string;
  playbackUrl: string;
}

export interface UpdateVideo {
  videoId: string;
  allowDownload: boolean;
}

export interface UserAchievement {
  id: string;
  name: string;
  description: string;
  icon: string;
  unlockedAt: Date;
}

export interface UserBadge {
  id: string;
  name: string;
  icon: string;
  description: string;
}

export interface UserProfile {
  id: string;
  username: string;
  displayName: string;
  avatar: string;
  bio?: string;
  level: number;
  experience: number;
  nextLevelExp: number;
  coins: number;
  diamonds: number;
  followers: number;
  following: number;
  totalStreams: number;
  totalViewTime: number;
  badges: UserBadge[];
  achievements: UserAchievement[];
  stats: UserStats;
  preferences: Preferences;
  joinedAt: Date;
  lastActive: Date;
  isOnline: boolean;
  currentStreamId: string | null;
}

export interface UserStats {
  totalStreamTime: number;
  averageViewers: number;
  peakViewers: number;
  totalGiftsReceived: number;
  totalGiftsSent: number;
  favoriteCategory: string;
}

export interface VideoDeleted {
  success: boolean;
  message: string;
}

export interface VideoDownload {
  success: boolean;
  downloadUrl: string;
}

export interface VideoItem {
  id: string;
  userId: string;
  userName: string;
  userAvatar: string;
  title: string;
  description?: string;
  category: string;
  tags: string[];
  thumbnail: string;
  videoUrl: string;
  duration: number;
  isPrivate: boolean;
  allowComments: boolean;
  allowDownload: boolean;
  status: 'processing' | 'ready' | 'failed';
  views: number;
  likes: number;
  dislikes: number;
  comments: number;
  shares: number;
  createdAt: Date;
  updatedAt: Date;
  sessionId: string;
  type: 'video' | 'audio';
  durationMs: number;
}

export interface VideoList {
  videos: VideoItem[];
  total: number;
  hasMore: boolean;
}

export interface VideoPlaying {
  success: boolean;
  video: VideoItem;
  playbackUrl: string;
  token: string;
}

export interface VideoUpdated {
  success: boolean;
  video: VideoItem;
}

export interface ViewerPermissions {
  canChat: boolean;
  canSendGifts: boolean;
  canRequestCoHost: boolean;
  canModerate: boolean;
}

export interface ViewerSession {
  sessionId: string;
  userId: string;
  role: 'viewer' | 'co-host';
  token: string;
  joinedAt: Date;
  permissions: ViewerPermissions;
}

type Procedures = {
  auth: {
    login: TRPCMutationProcedure<{ input: Login; output: SignedInAnswer; meta: object }>;
    logout: TRPCMutationProcedure<{ input: Logout | undefined; output: LoggedOut; meta: object }>;
    me: TRPCQueryProcedure<{ input: void; output: Me; meta: object }>;
    refresh: TRPCMutationProcedure<{ input: Refresh; output: Refreshed; meta: object }>;
    register: TRPCMutationProcedure<{ input: Register; output: SignedInAnswer; meta: object }>;
  };
  chat: {
    getMessages: TRPCQueryProcedure<{ input: GetMessages; output: MessagePage; meta: object }>;
    sendMessage: TRPCMutationProcedure<{ input: SendMessage; output: MessageSent; meta: object }>;
  };
  coHosts: {
    accept: TRPCMutationProcedure<{ input: CoHostSession; output: CoHostMoved; meta: object }>;
    approve: TRPCMutationProcedure<{ input: CoHostSeat; output: CoHostMoved; meta: object }>;
    decline: TRPCMutationProcedure<{ input: DeclineCoHost; output: CoHostMoved; meta: object }>;
    getCoHosts: TRPCQueryProcedure<{ input: CoHostSession; output: CoHostOverview; meta: object }>;
    invite: TRPCMutationProcedure<{ input: CoHostSeat; output: CoHostMoved; meta: object }>;
    leave: TRPCMutationProcedure<{ input: CoHostSession; output: CoHostMoved; meta: object }>;
    mute: TRPCMutationProcedure<{ input: MuteCoHost; output: CoHostMuted; meta: object }>;
    remove: TRPCMutationProcedure<{ input: CoHostSeat; output: CoHostMoved; meta: object }>;
    request: TRPCMutationProcedure<{ input: CoHostSession; output: CoHostMoved; meta: object }>;
  };
  streaming: {
    createSession: TRPCMutationProcedure<{ input: CreateSession; output: SessionCreated; meta: object }>;
    endSession: TRPCMutationProcedure<{ input: EndSession; output: SessionEnded; meta: object }>;
    getActiveSessions: TRPCQueryProcedure<{ input: GetActiveSessions; output: ActiveSessions; meta: object }>;
    getMySessions: TRPCQueryProcedure<{ input: void; output: MySessions; meta: object }>;
    getSession: TRPCQueryProcedure<{ input: GetSession; output: SessionFound; meta: object }>;
    joinSession: TRPCMutationProcedure<{ input: JoinSession; output: SessionJoined; meta: object }>;
    rotateStreamKey: TRPCMutationProcedure<{ input: RotateStreamKey; output: StreamKeyRotated; meta: object }>;
  };
  users: {
    getProfile: TRPCQueryProcedure<{ input: GetProfile; output: ProfileAnswer; meta: object }>;
  };
  videos: {
    deleteVideo: TRPCMutationProcedure<{ input: DeleteVideo; output: VideoDeleted; meta: object }>;
    downloadVideo: TRPCMutationProcedure<{ input: PlayVideo; output: VideoDownload; meta: object }>;
    getVideos: TRPCQueryProcedure<{ input: GetVideos; output: VideoList; meta: object }>;
    playVideo: TRPCMutationProcedure<{ input: PlayVideo; output: VideoPlaying; meta: object }>;
    updateVideo: TRPCMutationProcedure<{ input: UpdateVideo; output: VideoUpdated; meta: object }>;
  };
};

export type AppRouter = TRPCBuiltRouter<
  {
    ctx: object;
    meta: object;
    errorShape: TRPCDefaultErrorShape;
    transformer: true;
  },
  Procedures
>;
