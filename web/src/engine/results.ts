/** Results of an analysis: the records of `mien/schema.py`. */

import type { ResultRecord, VideoFrameRecord } from '../generated/results.ts';

export type {
  ExpressionRecord as Expression,
  FaceRecord as Face,
  HeadPoseRecord as HeadPose,
  QualityRecord as Quality,
} from '../generated/results.ts';

/** The faces of an image, in pixels of that image. */
export type ImageResult = Pick<ResultRecord, 'width' | 'height' | 'faces'>;

/** The faces of a video frame, with track numbers and smoothed expressions. */
export type FrameResult = ImageResult & Omit<VideoFrameRecord, 'scene'>;
